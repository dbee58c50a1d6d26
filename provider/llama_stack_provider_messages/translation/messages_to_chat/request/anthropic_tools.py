"""The tools that Anthropic defines and clients run -> functions: bash, text editor, memory, computer, and the toolsets.

In the Messages API these tools have only a type and a name, because Anthropic's models know them. Other models need a
description and a schema. So each tool becomes a function with the inputs that the client's implementation of that
version reads, and each member of the computer and browser toolsets becomes one function.

The members' inputs are those of the protocol's types (``Beta<Toolset><Member>Input`` of the anthropic SDK; a test
compares them with the tables here). A target with two alternatives is written as one flat object, because not every
backend passes ``anyOf`` to its model.
"""

from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.models.tools import BashTool, ComputerTool, MemoryTool, TextEditorTool
from llama_stack_provider_messages.translation.fields import field

type Schema = dict[str, Any]


# --- constructors of schemas ---


def described(text: str, required: dict[str, Schema] | None = None, /, **optional: Schema) -> Schema:
    """Return description and parameters of a function.

    Args:
        text: What it does and when to use it.
        required: Required inputs.
        optional: Optional inputs.
    """
    parameters: Schema = {"type": "object", "properties": {**(required or {}), **optional}}
    if required:
        parameters["required"] = list(required)
    return {"description": text, "parameters": parameters}


def string(text: str, *values: str) -> Schema:
    """Return a string schema, an enum if there are values."""
    return {"type": "string", **({"enum": list(values)} if values else {}), "description": text}


def integer(text: str) -> Schema:
    """Return an integer schema."""
    return {"type": "integer", "description": text}


def number(text: str) -> Schema:
    """Return a number schema."""
    return {"type": "number", "description": text}


def boolean(text: str) -> Schema:
    """Return a boolean schema."""
    return {"type": "boolean", "description": text}


def strings(text: str) -> Schema:
    """Return an array schema of strings."""
    return {"type": "array", "items": {"type": "string"}, "description": text}


def integers(text: str, count: int) -> Schema:
    """Return an array schema of ``count`` integers."""
    return {"type": "array", "items": {"type": "integer"}, "minItems": count, "maxItems": count, "description": text}


def record(text: str, /, **fields: Schema) -> Schema:
    """Return an object schema with all fields required."""
    return {"type": "object", "properties": fields, "required": list(fields), "description": text}


# --- tools ---


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

_VIEW_RANGE = "First and last line to show, counted from 1; -1 as the last is the end of the file."
_INSERT_LINE = "Line behind which the text is put; 0 is the beginning of the file."
_OLD_STR = "Text to replace, exactly as it stands in the file, white space included; it must occur only once."


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
        old_str=string(_OLD_STR),
        new_str=string(f"{new} For insert: the text to insert." if undo else new),
        insert_line=integer(_INSERT_LINE),
        view_range=integers(_VIEW_RANGE, 2),
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
        view_range=integers(_VIEW_RANGE, 2),
        file_text=string("Content of the file to create."),
        old_str=string(_OLD_STR),
        new_str=string("Text that replaces old_str."),
        insert_line=integer(_INSERT_LINE),
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
    where = " where the cursor is" if first else " at coordinate, or where the cursor is"
    start = " where the cursor is" if first else " at start_coordinate"
    number_of_display = field(tool, "display_number")
    display = "" if number_of_display is None else f" It is X11 display :{number_of_display}."
    description = (
        "Use the mouse, the keyboard and the screen of a computer. "
        f"The screen is {tool.display_width_px} pixels wide and {tool.display_height_px} pixels high.{display} "
        "Take a screenshot first, and again to see what an action did; click in the middle of things. Actions:"
    )
    lines = [f"- {name}: {text.format(where=where, start=start)}" for name, text in actions.items()]
    later_inputs: dict[str, Schema] = {
        "start_coordinate": integers("[x, y] where a drag begins.", 2),
        "scroll_direction": string("Where to scroll.", "up", "down", "left", "right"),
        "scroll_amount": integer("How many clicks of the wheel."),
        "duration": number("Seconds to hold a key, or to wait."),
    }
    return described(
        "\n".join([description, *lines]),
        {"action": string("What to do.", *actions)},
        coordinate=integers("[x, y] in pixels from the left and the top edge of the screen.", 2),
        text=string("Text to type, or key to press." + ("" if first else " For clicks and scroll: keys to hold.")),
        **({} if first else later_inputs),
        **({"region": integers("[x0, y0, x1, y1]: upper left and lower right corner.", 4)} if zoom else {}),
    )


CLIENT_TOOLS: dict[str, Callable[..., Schema]] = {
    "bash": bash,
    "text_editor": text_editor,
    "memory": memory,
    "computer": computer,
}
"""Kind of tool -> its description and parameters."""


# --- members of toolsets ---

_KEYS = "Key or combination, such as Return, ctrl+s or alt+Tab; + joins keys."
_HELD_KEYS = string("Keys to hold during the action, such as ctrl or ctrl+shift.")
_POINT = integers("[x, y] in pixels from the left and the top edge of the latest screenshot.", 2)
_DIRECTION = string("Where to scroll.", "up", "down", "left", "right")
_REPEAT = integer("How often to press; 1 if left out.")


def _click(action: str) -> Schema:
    return described(f"{action} at coordinate, or where the cursor is.", coordinate=_POINT, text=_HELD_KEYS)


COMPUTER_MEMBERS: dict[str, Schema] = {
    "key": described("Press a key or a combination of keys.", {"text": string(_KEYS)}, repeat=_REPEAT),
    "hold_key": described(
        "Hold a key or a combination down for some time.",
        {"text": string(_KEYS), "duration": integer("Seconds to hold it.")},
    ),
    "type": described("Type a text on the keyboard.", {"text": string("The text.")}),
    "cursor_position": described("Return where the cursor is, as x and y in pixels."),
    "mouse_move": described("Move the cursor without clicking, to hover.", {"coordinate": _POINT}),
    "left_mouse_down": described("Press the left mouse button and hold it, where the cursor is."),
    "left_mouse_up": described("Let the left mouse button go, where the cursor is."),
    "left_click": _click("Click the left mouse button"),
    "left_click_drag": described(
        "Drag with the left mouse button from start_coordinate to coordinate.",
        {"start_coordinate": _POINT, "coordinate": _POINT},
        text=_HELD_KEYS,
    ),
    "right_click": _click("Click the right mouse button"),
    "middle_click": _click("Click the middle mouse button"),
    "double_click": _click("Click the left mouse button twice"),
    "triple_click": _click("Click the left mouse button three times"),
    "scroll": described(
        "Turn the mouse wheel at coordinate, or where the cursor is. Use it instead of the page keys.",
        {"scroll_direction": _DIRECTION, "scroll_amount": integer("How many clicks of the wheel.")},
        coordinate=_POINT,
        text=_HELD_KEYS,
    ),
    "wait": described("Wait before the next action.", {"duration": integer("Seconds to wait.")}),
    "screenshot": described("Return a picture of the screen. Take one first, and to see what an action did."),
    "zoom": described(
        "Return an enlarged picture of a part of the screen, to read what is small.",
        {"region": integers("[x0, y0, x1, y1]: upper left and lower right corner, in pixels of a screenshot.", 4)},
    ),
}

_TAB = string("Tab to act on; the active one if left out.")
_REF = string("Element of the page, such as ref_7, from read_page or find of this tab.")
_X = integer("Pixels from the left edge of the viewport.")
_Y = integer("Pixels from the top edge of the viewport.")
_ELEMENT = record("An element of the page, by its reference.", type=string("Always ref.", "ref"), ref=_REF)
_PLACE = record("A point of the viewport.", type=string("Always coordinate.", "coordinate"), x=_X, y=_Y)
_TARGET: Schema = {
    "type": "object",
    "properties": {"type": string("What the target is.", "coordinate", "ref"), "x": _X, "y": _Y, "ref": _REF},
    "required": ["type"],
    "description": 'Where to act: {"type": "ref", "ref": "ref_7"} or {"type": "coordinate", "x": 10, "y": 20}.',
}
_MAX_SECONDS = "at most 30"


def _page(text: str, required: dict[str, Schema] | None = None, /, **optional: Schema) -> Schema:
    return described(text, required, **optional, tab_id=_TAB)


def _press(action: str) -> Schema:
    return _page(f"{action} on an element or at a point of the page.", {"target": _TARGET}, modifiers=_HELD_KEYS)


BROWSER_MEMBERS: dict[str, Schema] = {
    "navigate": _page(
        "Open an address in a tab, or go through its history.",
        {"url": string("The address (https:// may be left out), or back, forward or reload.")},
    ),
    "list_tabs": described("Return id, title and address of every open tab."),
    "new_tab": described("Open an empty tab and return its id."),
    "switch_tab": described(
        "Bring a tab to the front; actions without tab_id go there.", {"tab_id": string("The tab.")}
    ),
    "close_tab": described("Close a tab.", {"tab_id": string("The tab.")}),
    "read_page": _page(
        "Return the elements of the page as a tree, with references such as [ref_7] that other actions take as "
        "target. If it is too long, ask for less depth or for the part below one element.",
        depth=integer("How deep the tree goes; 15 if left out."),
        filter=string(
            "interactive: only what can be used; all: also what is out of view. Visible elements if left out.",
            "all",
            "interactive",
        ),
        ref=string("Element to begin at; the whole page if left out."),
    ),
    "get_page_text": _page("Return the text of the page, for articles and other pages to read."),
    "read_console": _page("Return what the page wrote to the console since the last time."),
    "read_network": _page("Return the network requests of the page since the last time."),
    "find": _page(
        "Find up to 20 elements by a description and return their references.",
        {"query": string("What to look for, in words, such as: search field.")},
    ),
    "form_input": _page(
        "Set the value of a form field.",
        {
            "target": _ELEMENT,
            "value": {
                "type": ["string", "number", "boolean"],
                "description": "The value; true or false for a check box, the option for a selection.",
            },
        },
    ),
    "file_upload": _page(
        "Choose files for a file field. Give paths or document_ids.",
        {"target": _ELEMENT},
        paths=strings("Paths of the files on the browser's machine."),
        document_ids=strings("Ids of files that were made ready for this."),
    ),
    "scroll_to": _page("Scroll until an element is in view.", {"target": _ELEMENT}),
    "screenshot": _page("Return a picture of what the tab shows."),
    "zoom": _page(
        "Return an enlarged picture of a part of what the tab shows, to read what is small.",
        {"region": integers("[x0, y0, x1, y1]: upper left and lower right corner, in pixels of the viewport.", 4)},
    ),
    "left_click": _press("Click"),
    "right_click": _press("Click with the right button"),
    "middle_click": _press("Click with the middle button"),
    "double_click": _press("Click twice"),
    "triple_click": _press("Click three times, which selects a line or paragraph,"),
    "hover": _page("Move the pointer to an element or point without clicking.", {"target": _TARGET}),
    "left_click_drag": _page(
        "Drag with the left button from one point to another.", {"from": _PLACE, "target": _PLACE}
    ),
    "left_mouse_down": _page("Press the left button at a point and hold it.", {"target": _PLACE}),
    "left_mouse_up": _page("Let the left button go at a point.", {"target": _PLACE}),
    "mouse_move": _page("Move the pointer to a point without clicking.", {"target": _PLACE}),
    "scroll": _page(
        "Turn the mouse wheel at a point.",
        {"scroll_direction": _DIRECTION, "target": _PLACE},
        scroll_amount=integer("How many clicks of the wheel, 1 to 10; 3 if left out."),
    ),
    "type": _page("Type a text where the focus is.", {"text": string("The text.")}),
    "key": _page(
        "Press a key or a combination of keys.",
        {"text": string(f"{_KEYS} Several, with spaces between them, are pressed one after the other.")},
        repeat=_REPEAT,
    ),
    "hold_key": _page(
        "Hold a key or a combination down for some time.",
        {"text": string(_KEYS), "duration": number(f"Seconds to hold it, {_MAX_SECONDS}.")},
    ),
    "wait": _page("Wait before the next action.", {"duration": number(f"Seconds to wait, {_MAX_SECONDS}.")}),
    "javascript_exec": _page(
        "Run JavaScript in the page and return the value of its last expression.",
        {"text": string("The code, without return.")},
    ),
}
