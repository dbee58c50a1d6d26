"""The members of the computer and the browser toolset, one function each.

Inputs are those of the protocol's types (``Beta<Toolset><Member>Input`` of the anthropic SDK; a test compares them with
these tables). A target with two alternatives is written as one flat object, because not every backend passes ``anyOf``
to its model.
"""

from .schemas import Schema, described, integer, integers, number, record, string, strings

_KEYS = "Key or combination, such as Return, ctrl+s or alt+Tab; + joins keys."
_HELD = string("Keys to hold during the action, such as ctrl or ctrl+shift.")
_POINT = integers("[x, y] in pixels from the left and the top edge of the latest screenshot.", 2)
_DIRECTION = string("Where to scroll.", "up", "down", "left", "right")
_REPEAT = integer("How often to press; 1 if left out.")


def _click(how: str) -> Schema:
    return described(f"{how} at coordinate, or where the cursor is.", coordinate=_POINT, text=_HELD)


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
        text=_HELD,
    ),
    "right_click": _click("Click the right mouse button"),
    "middle_click": _click("Click the middle mouse button"),
    "double_click": _click("Click the left mouse button twice"),
    "triple_click": _click("Click the left mouse button three times"),
    "scroll": described(
        "Turn the mouse wheel at coordinate, or where the cursor is. Use it instead of the page keys.",
        {"scroll_direction": _DIRECTION, "scroll_amount": integer("How many clicks of the wheel.")},
        coordinate=_POINT,
        text=_HELD,
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
_SECONDS = "at most 30"


def _page(text: str, required: dict[str, Schema] | None = None, /, **optional: Schema) -> Schema:
    return described(text, required, **optional, tab_id=_TAB)


def _press(how: str) -> Schema:
    return _page(f"{how} on an element or at a point of the page.", {"target": _TARGET}, modifiers=_HELD)


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
        {"text": string(_KEYS), "duration": number(f"Seconds to hold it, {_SECONDS}.")},
    ),
    "wait": _page("Wait before the next action.", {"duration": number(f"Seconds to wait, {_SECONDS}.")}),
    "javascript_exec": _page(
        "Run JavaScript in the page and return the value of its last expression.",
        {"text": string("The code, without return.")},
    ),
}
