"""The plain parts of an HTML page that needs nothing but itself: elements that escape, tables, style, script."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence

__all__ = ["Markup", "document", "element", "join", "table"]


class Markup(str):
    """Text that is HTML already; any other string is escaped when it becomes part of an element."""


def join(parts: Iterable[str]) -> Markup:
    """Join strings, escaping those that are not :class:`Markup`."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def element(name: str, *children: str, **attributes: str) -> Markup:
    """Return ``<name …>children</name>``, all escaped; ``class_`` becomes ``class``, ``aria_label`` ``aria-label``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", sortable: bool = False
) -> Markup:
    """Return a table whose first column is the header of each row; ``sortable`` adds buttons to the headers."""
    heads = [
        element("th", element("button", head, type="button") if sortable else head, scope="col") for head in headers
    ]
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    return element(
        "div",
        element(
            "table",
            *([element("caption", caption)] if caption else []),
            element("thead", element("tr", *heads)),
            element("tbody", *body),
            **({"class_": "sortable"} if sortable else {}),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or "table",
    )


def document(title: str, *body: str) -> str:
    """Return the whole page. Its content-security policy forbids any network access and any script but ours."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    main = element("main", *body)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{main}<script>{_SCRIPT}</script></body></html>\n'


_STYLE = """
:root{--ink:#1b2430;--soft:#5a6675;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;--accent:#0b63ce;
--truth:#0ea5e9;--guess:#f97316;--warn:#fff6e0;--warn-line:#e8b93c}
@media (prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#9aa7b7;--paper:#11161d;--card:#1a212b;--line:#303a47;
--accent:#6cb0ff;--warn:#33290f;--warn-line:#9a7a20}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1160px;margin:0 auto;padding:28px 20px 64px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 .6rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.3rem 0 .8rem;max-width:78ch}.soft,figcaption,caption{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0}
nav ul,.cards,.gallery,.plots{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:12px}
nav ul{gap:4px 16px;margin:.8rem 0}a{color:var(--accent)}
a:focus-visible,button:focus-visible,.scroll:focus-visible{outline:2px solid var(--accent)}
.cards li{flex:1 1 150px;border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.cards b{display:block;font-size:1.65rem;line-height:1.25;font-variant-numeric:tabular-nums}
.cards small,td small{display:block;color:var(--soft)}
.notes{background:var(--warn);border-left:4px solid var(--warn-line);border-radius:6px;margin:14px 0;
padding:8px 14px 8px 32px}
.scroll{overflow-x:auto;margin:.6rem 0}.tall .scroll{max-height:560px;overflow-y:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
caption{text-align:left;padding-bottom:6px}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;white-space:nowrap}
th:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:9em}tbody th{font-weight:600}
td.text,.words td{text-align:left;white-space:normal;overflow-wrap:anywhere}.words th{text-align:left;min-width:8em}
thead th{border-bottom:2px solid var(--line);color:var(--soft);font-weight:600}
th button{all:unset;cursor:pointer}th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
.tall thead th{position:sticky;top:0;background:var(--card)}
.tall thead th:first-child{z-index:1}
td .wrap{display:inline-block;white-space:normal;max-width:18em}
.confusion thead th:not(:first-child){white-space:normal;overflow-wrap:anywhere;min-width:6em}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(440px,100%),1fr))}.plots figure{margin:0}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(230px,100%),1fr))}
.gallery figure{margin:0}.gallery svg{width:100%;aspect-ratio:1;background:#000;border-radius:6px;display:block}
.gallery figcaption{font-size:.85rem;overflow-wrap:anywhere;padding-top:4px}
.gallery figcaption b{display:block}
.truth,.guess{fill:none;vector-effect:non-scaling-stroke}.truth{stroke:var(--truth);stroke-width:2.2}
.guess{stroke:var(--guess);stroke-width:1.7;stroke-dasharray:5 3}
.key{display:inline-block;width:34px;height:0;border-top:3px solid var(--truth);
vertical-align:middle;margin:0 6px 0 14px}
.key.dash{border-top:3px dashed var(--guess)}
pre{overflow-x:auto;margin:0;font-size:.82rem;white-space:pre-wrap;overflow-wrap:anywhere}
details summary{cursor:pointer;color:var(--accent)}
@media print{body{background:#fff}section{break-inside:avoid}.tall .scroll{max-height:none}}
"""

_SCRIPT = """
document.querySelectorAll('table.sortable').forEach(function(table){
  var heads=table.querySelectorAll('thead th');
  heads.forEach(function(head,column){
    head.querySelector('button').addEventListener('click',function(){
      var up=head.getAttribute('aria-sort')!=='ascending';
      heads.forEach(function(other){other.removeAttribute('aria-sort')});
      head.setAttribute('aria-sort',up?'ascending':'descending');
      var rows=Array.from(table.tBodies[0].rows);
      rows.sort(function(a,b){
        var x=a.cells[column].textContent,y=b.cells[column].textContent;
        if(x==='\\u2013'||y==='\\u2013')return (x==='\\u2013')-(y==='\\u2013');
        var n=Number(x.replace('\\u2212','-')),m=Number(y.replace('\\u2212','-'));
        var order=isNaN(n)||isNaN(m)?x.localeCompare(y,undefined,{numeric:true}):n-m;
        return up?order:-order;
      });
      rows.forEach(function(row){table.tBodies[0].appendChild(row)});
    });
  });
});
"""
