"""Anthropic-defined client tools -> functions: bash, text editor, memory and computer.

In the Messages API they have only a type and a name, because its models know them. Other models need a description and
a schema, so each becomes a function with the inputs that the client's implementation of that version reads.
"""

from collections.abc import Callable

from llama_stack_api_messages.models.tools import BashTool, ComputerTool, MemoryTool, TextEditorTool
from llama_stack_provider_messages.translation.fields import field

from .schemas import Schema, boolean, described, integer, integers, number, string


def bash(_tool: BashTool) -> Schema:
    """Return description and parameters of the bash tool."""
    return described(
        "Run commands in a bash shell on the user's machine and return what they print. The shell lives on between "
        "calls: directory, variables and background jobs stay. Commands that wait for input or never end must not be "
        "run. Give either command or restart.",
        command=string("The command to run."),
        restart=boolean("true: end the shell and start a new one, for example when it hangs."),
    )


_EDITORS_WITH_UNDO = ("text_editor_20241022", "text_editor_20250124")

_EDITOR_COMMANDS = {
    "view": "view: show a file with line numbers, or what a directory holds; needs path, takes view_range.",
    "create": "create: write a new file; needs path and file_text.",
    "str_replace": "str_replace: replace a text that occurs exactly once; needs path, old_str and new_str.",
    "insert": "insert: put text behind a line; needs path, insert_line and {text}.",
    "undo_edit": "undo_edit: take back the last edit of a file; needs path.",
}

_LINES = "First and last line to show, counted from 1; -1 as the last is the end of the file."
_LINE = "Line behind which the text is put; 0 is the beginning of the file."
_OLD = "Text to replace, exactly as it stands in the file, white space included; it must occur only once."


def text_editor(tool: TextEditorTool) -> Schema:
    """Return description and parameters of the text editor; versions differ in ``undo_edit`` and ``insert``."""
    undo = tool.type in _EDITORS_WITH_UNDO
    text = "new_str" if undo else "insert_text"
    commands = [name for name in _EDITOR_COMMANDS if undo or name != "undo_edit"]
    lines = ["View, create and edit text files on the user's machine. Commands:"]
    lines += [f"- {_EDITOR_COMMANDS[name].format(text=text)}" for name in commands]
    if tool.max_characters:
        lines.append(f"A view of a file ends after {tool.max_characters} characters; use view_range for the rest.")
    new = "Text that replaces old_str; empty or left out: old_str is deleted."
    added = {} if undo else {"insert_text": string("Text to insert.")}
    return described(
        "\n".join(lines),
        {"command": string("What to do.", *commands), "path": string("Absolute path of the file or directory.")},
        file_text=string("Content of the file to create."),
        old_str=string(_OLD),
        new_str=string(f"{new} For insert: the text to insert." if undo else new),
        insert_line=integer(_LINE),
        view_range=integers(_LINES, 2),
        **added,
    )


def memory(_tool: MemoryTool) -> Schema:
    """Return description and parameters of the memory tool."""
    return described(
        "Your own notes, kept in files under /memories from one conversation to the next. View /memories before you "
        "begin a task, and write down what will be of use later. Commands:\n"
        "- view: show a file, or what a directory holds; needs path, takes view_range.\n"
        "- create: write a file; needs path and file_text.\n"
        "- str_replace: replace a text that occurs exactly once; needs path, old_str and new_str.\n"
        "- insert: put text behind a line; needs path, insert_line and insert_text.\n"
        "- delete: delete a file or directory; needs path.\n"
        "- rename: rename or move a file or directory; needs old_path and new_path.",
        {"command": string("What to do.", "view", "create", "str_replace", "insert", "delete", "rename")},
        path=string("Path of the file or directory; it begins with /memories."),
        view_range=integers(_LINES, 2),
        file_text=string("Content of the file to create."),
        old_str=string(_OLD),
        new_str=string("Text that replaces old_str."),
        insert_line=integer(_LINE),
        insert_text=string("Text to insert."),
        old_path=string("Path before the renaming; it begins with /memories."),
        new_path=string("Path after the renaming; it begins with /memories."),
    )


_SCREEN_ACTIONS = {
    "screenshot": "look at the screen",
    "cursor_position": "ask where the cursor is",
    "key": "press a key or a combination, named in text, such as Return or ctrl+s",
    "type": "type text",
    "mouse_move": "move the cursor to coordinate",
    "left_click": "click{where}",
    "right_click": "click with the right button{where}",
    "middle_click": "click with the middle button{where}",
    "double_click": "click twice{where}",
    "left_click_drag": "hold the left button down{start} and let it go at coordinate",
}
"""Actions of the first version."""

_LATER_ACTIONS = {
    "triple_click": "click three times{where}",
    "left_mouse_down": "press the left button and hold it, where the cursor is",
    "left_mouse_up": "let the left button go, where the cursor is",
    "scroll": "scroll by scroll_amount in scroll_direction{where}",
    "hold_key": "hold the key named in text down for duration seconds",
    "wait": "wait for duration seconds",
}
"""Actions added in 20250124."""

_ZOOM = {"zoom": "look at region of the screen in full resolution"}
"""Action added in 20251124, if enabled."""


def computer(tool: ComputerTool) -> Schema:
    """Return description and parameters of the computer tool; the first version clicks only at the cursor."""
    first = tool.type == "computer_20241022"
    zoom = _ZOOM if tool.type == "computer_20251124" and tool.enable_zoom else {}
    actions = _SCREEN_ACTIONS | ({} if first else _LATER_ACTIONS) | zoom
    return described(
        _screen(tool, actions, first=first),
        {"action": string("What to do.", *actions)},
        coordinate=integers("[x, y] in pixels from the left and the top edge of the screen.", 2),
        text=string("Text to type, or key to press." + ("" if first else " For clicks and scroll: keys to hold.")),
        **({} if first else _later_inputs()),
        **({"region": integers("[x0, y0, x1, y1]: upper left and lower right corner.", 4)} if zoom else {}),
    )


def _screen(tool: ComputerTool, actions: dict[str, str], *, first: bool) -> str:
    where = " where the cursor is" if first else " at coordinate, or where the cursor is"
    start = " where the cursor is" if first else " at start_coordinate"
    display = field(tool, "display_number")
    shown = "" if display is None else f" It is X11 display :{display}."
    head = (
        "Use the mouse, the keyboard and the screen of a computer. "
        f"The screen is {tool.display_width_px} pixels wide and {tool.display_height_px} pixels high.{shown} "
        "Take a screenshot first, and again to see what an action did; click in the middle of things. Actions:"
    )
    return "\n".join([head, *(f"- {name}: {text.format(where=where, start=start)}" for name, text in actions.items())])


def _later_inputs() -> dict[str, Schema]:
    return {
        "start_coordinate": integers("[x, y] where a drag begins.", 2),
        "scroll_direction": string("Where to scroll.", "up", "down", "left", "right"),
        "scroll_amount": integer("How many clicks of the wheel."),
        "duration": number("Seconds to hold a key, or to wait."),
    }


CLIENT_TOOLS: dict[str, Callable[..., Schema]] = {
    "bash": bash,
    "text_editor": text_editor,
    "memory": memory,
    "computer": computer,
}
"""Kind of tool -> its description and parameters."""
