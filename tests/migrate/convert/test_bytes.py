"""What is not edited stays byte by byte, and what cannot be read is refused with a reason."""

from __future__ import annotations

import pytest
from ascend_runtime.migrate.convert.context import Project
from ascend_runtime.migrate.convert.rewrite import rewrite
from ascend_runtime.migrate.convert.source import Unreadable


@pytest.mark.parametrize(
    ("before", "want"),
    [
        pytest.param(
            b"\xef\xbb\xbfimport torch\nx.cuda()\n", b"\xef\xbb\xbfimport torch_npu\nimport torch\nx.npu()\n", id="bom"
        ),
        pytest.param(b"import torch\r\nx.cuda()\r\n", b"import torch_npu\r\nimport torch\r\nx.npu()\r\n", id="crlf"),
        pytest.param(b"d = 'cuda'\ry = 1\r", b"d = 'npu'\ry = 1\r", id="cr"),
        pytest.param(b"if x:\n\td = 'cuda'\t# tab\n", b"if x:\n\td = 'npu'\t# tab\n", id="tabs"),
        pytest.param(b"d = 'cuda'", b"d = 'npu'", id="no-newline-at-end"),
        pytest.param(b"d = 'cuda'\n\n\n  \n", b"d = 'npu'\n\n\n  \n", id="blank-lines-at-end"),
        pytest.param(
            "é = 'ü'; d = 'cuda'  # 中文\n".encode(), "é = 'ü'; d = 'npu'  # 中文\n".encode(), id="utf-8-columns"
        ),
        pytest.param(
            b"# -*- coding: latin-1 -*-\ns = '\xe9'; d = 'cuda'\n",
            b"# -*- coding: latin-1 -*-\ns = '\xe9'; d = 'npu'\n",
            id="latin-1-cookie",
        ),
        pytest.param(
            "# coding: gbk\ns = '中文'; d = 'cuda'\n".encode("gbk"),
            "# coding: gbk\ns = '中文'; d = 'npu'\n".encode("gbk"),
            id="gbk-cookie",
        ),
        pytest.param(b"x = 1\n\x0cd = 'cuda'\n", b"x = 1\n\x0cd = 'npu'\n", id="form-feed"),
        pytest.param(
            b"d = ('a' # c\n  , 'cuda', \\\n  'b')\n", b"d = ('a' # c\n  , 'npu', \\\n  'b')\n", id="continued-lines"
        ),
    ],
)
def test_untouched_bytes_stay(before: bytes, want: bytes) -> None:
    assert rewrite("a.py", before, Project()).after == want


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"print 'python 2'\n", id="python-2"),
        pytest.param(b"x = '\xff'\n", id="not-utf-8"),
        pytest.param(b"# coding: no-such-encoding\nx = 1\n", id="unknown-encoding"),
        pytest.param(b"x = 1\0\n", id="null-byte"),
        pytest.param(b"(" * 5000, id="deep-nesting"),
        pytest.param(b"x = " + b"-" * 100_000 + b"1\n", id="deep-operators"),
        pytest.param(b"#" * (10 * 1024 * 1024 + 1), id="too-large"),
        pytest.param(b"\xef\xbb\xbf# coding: latin-1\nx = '\xe9'\n", id="bom-against-cookie"),
    ],
)
def test_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(Unreadable, match=r"\w"):
        rewrite("a.py", raw, Project())


def test_deep_attribute_chain_ends() -> None:
    raw = b"x = a" + b".b" * 900 + b".cuda()\nd = 'cuda'\n"
    try:
        after = rewrite("a.py", raw, Project()).after or b""
    except (Unreadable, RecursionError):
        return
    assert b".npu()" in after
