"""Builds minimal PDFs with text; also a PNG image of one pixel."""

import base64
import io
import zlib

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def pdf_of(*contents: bytes, filters: str = "") -> bytes:
    """Return a PDF with one page per content stream; ``filters`` is the dictionary entry for their encoding."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, content in enumerate(contents):
        page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"{page} /Contents {5 + 2 * number} 0 R >>".encode())
        objects.append(b"<< /Length %d %s>>\nstream\n%s\nendstream" % (len(content), filters.encode(), content))
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, value in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, value))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return out.getvalue()


def shown(text: str) -> bytes:
    """Return a content stream that draws a text."""
    return f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode()


def pdf_with(*texts: str) -> bytes:
    """Return a PDF with these texts, one per page."""
    return pdf_of(*map(shown, texts))


def bomb(size: int, piece: bytes = b" ", *, twice: bool = False) -> bytes:
    """Return a small PDF whose content stream decompresses to ``size`` bytes; ``twice`` compresses it twice."""
    packer = zlib.compressobj(9)
    block = (piece * (1 << 20))[: 1 << 20]
    data = b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()
    if twice:
        return pdf_of(zlib.compress(data, 9), filters="/Filter [/FlateDecode /FlateDecode] ")
    return pdf_of(data, filters="/Filter /FlateDecode ")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
