"""An old text layer taken out of a PDF's pages without a change to how they look.

Invisible text goes. Text that is drawn (a law set in Limon, whose letters claim to be Latin) must
stay: its fonts get a ToUnicode map that calls every letter a space, so that nothing of it is found
or copied any more. What the two touch is copied first: pages that keep their text share nothing.
"""

from __future__ import annotations

from typing import Any

_SHOW = {"Tj", "TJ", "'", '"'}
_INVISIBLE = 3
_MAX_DEPTH = 20  # of forms within forms


class TextRemover:
    """Takes text out of pages of one pikepdf.Pdf; what pages share is copied once."""

    def __init__(self, pdf: Any):
        self._pdf = pdf
        self._made: dict[tuple[int, int], Any] = {}  # object and generation: its copy
        self._blank: dict[int, Any] = {}  # bytes a code: ToUnicode

    def remove(self, page: Any) -> None:
        """Takes the text out of a page (pikepdf.Page)."""
        from pikepdf import Dictionary

        resources = page.obj.get("/Resources", page.resources)
        content = _without_invisible_text(page)
        if content is not None:
            page.obj.Contents = self._pdf.make_stream(content)
        page.obj.Resources = self._resources(resources or Dictionary(), 0)

    def _resources(self, resources: Any, depth: int) -> Any:
        from pikepdf import Dictionary

        copy = Dictionary({key: value for key, value in resources.items()})
        if "/Font" in copy:
            copy.Font = Dictionary({key: self._font(font) for key, font in copy.Font.items()})
        if "/XObject" in copy and depth < _MAX_DEPTH:
            copy.XObject = Dictionary(
                {key: self._xobject(value, depth + 1) for key, value in copy.XObject.items()}
            )
        if "/Properties" in copy:
            copy.Properties = Dictionary(
                {key: _without_actual_text(value) for key, value in copy.Properties.items()}
            )
        return copy

    def _font(self, font: Any) -> Any:
        if font.objgen in self._made and font.is_indirect:
            return self._made[font.objgen]
        copy = self._pdf.make_indirect(_shallow(font))
        copy.ToUnicode = self._blank_map(2 if font.get("/Subtype") == "/Type0" else 1)
        if font.is_indirect:
            self._made[font.objgen] = copy
        return copy

    def _xobject(self, form: Any, depth: int) -> Any:
        if form.get("/Subtype") != "/Form":
            return form
        if form.objgen in self._made:
            return self._made[form.objgen]
        self._made[form.objgen] = form  # a form that names itself
        content = _without_invisible_text(form)
        copy = self._pdf.make_stream(form.read_bytes() if content is None else content)
        for key, value in form.items():
            if key not in ("/Length", "/Filter", "/DecodeParms"):
                copy[key] = value
        if "/Resources" in form:
            copy.Resources = self._resources(form.Resources, depth)
        self._made[form.objgen] = copy
        return copy

    def _blank_map(self, size: int) -> Any:
        if size not in self._blank:
            self._blank[size] = self._pdf.make_stream(_blank_cmap(size))
        return self._blank[size]


def _without_invisible_text(holder: Any) -> bytes | None:
    """The content of a page or form without invisible text; None if there is none in it.

    A text object (BT to ET) goes only where all its text is invisible, since what is shown moves
    what follows.
    """
    import pikepdf

    instructions = pikepdf.parse_content_stream(holder)
    kept: list[Any] = []
    mode, saved = 0, list[int]()
    begin: int | None = None  # of the current text object, in kept
    drawn = hidden = False
    changed = False
    for instruction in instructions:
        operator = str(instruction.operator)
        if operator == "q":
            saved.append(mode)
        elif operator == "Q" and saved:
            mode = saved.pop()
        elif operator == "Tr" and instruction.operands:
            mode = int(instruction.operands[0])
        elif operator == "BT":
            begin, drawn, hidden = len(kept), False, False
        elif operator in _SHOW:
            drawn, hidden = drawn or mode != _INVISIBLE, hidden or mode == _INVISIBLE
        if operator in ("BDC", "DP") and len(instruction.operands) == 2:
            properties = _without_actual_text(instruction.operands[1])
            if properties is not instruction.operands[1]:
                operands = [instruction.operands[0], properties]
                instruction = pikepdf.ContentStreamInstruction(operands, instruction.operator)
                changed = True
        kept.append(instruction)
        if operator == "ET" and begin is not None:
            if hidden and not drawn:
                texts = kept[begin:]
                kept[begin:] = [i for i in texts if str(i.operator) not in _SHOW]
                changed = True
            begin = None
    return pikepdf.unparse_content_stream(kept) if changed else None


def _without_actual_text(properties: Any) -> Any:
    from pikepdf import Dictionary

    if not isinstance(properties, Dictionary) or "/ActualText" not in properties:
        return properties
    return Dictionary({k: v for k, v in properties.items() if k != "/ActualText"})


def _shallow(dictionary: Any) -> Any:
    from pikepdf import Dictionary

    return Dictionary({key: value for key, value in dictionary.items()})


def _blank_cmap(size: int) -> bytes:
    """A ToUnicode CMap that calls every code of `size` bytes a space."""
    digits = 2 * size
    spaces = "[" + "<0020>" * 256 + "]"
    ranges = [
        f"<{high:0{digits - 2}X}00> <{high:0{digits - 2}X}FF> {spaces}"
        if size > 1
        else f"<00> <FF> {spaces}"
        for high in range(256 ** (size - 1))
    ]
    lines = [
        "/CIDInit /ProcSet findresource begin",
        "12 dict begin",
        "begincmap",
        "/CMapType 2 def",
        "1 begincodespacerange",
        f"<{'00' * size}> <{'FF' * size}>",
        "endcodespacerange",
    ]
    for start in range(0, len(ranges), 100):
        block = ranges[start : start + 100]
        lines += [f"{len(block)} beginbfrange", *block, "endbfrange"]
    lines += ["endcmap", "CMapName currentdict /CMap defineresource pop", "end", "end"]
    return "\n".join(lines).encode("ascii")
