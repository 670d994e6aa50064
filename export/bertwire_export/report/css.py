"""The page's one style sheet: light or dark as the reader likes, and fit for paper."""

CSS = """
:root { color-scheme: light dark; --ink: #1c2126; --paper: #fff; --line: #c8ced4; --soft: #f2f4f6; --bad: #b3261e;
  --good: #1a7f37; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e3e6e9; --paper: #16191d; --line: #454b52; --soft: #22272d; --bad: #ff8a80; --good: #6fce86; }
}
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem; font: 15px/1.45 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
p { max-width: 50rem; }
figure { margin: .6rem 0; overflow-x: auto; }
svg { color: var(--ink); font-family: system-ui, sans-serif; max-width: 100%; height: auto; overflow: visible; }
figure.large svg { max-width: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--soft); text-align: left; vertical-align: bottom; font-weight: 600; }
td.n { text-align: right; white-space: nowrap; }
th.n { text-align: right; }
th[scope=row] { vertical-align: top; white-space: nowrap; }
td.w { overflow-wrap: break-word; }
strong { white-space: nowrap; }
td > bdi { display: inline-block; max-width: 32rem; }
.remark td { padding-left: 1.5rem; font-size: .8rem; border-bottom-width: 2px; }
.hash { font-family: ui-monospace, monospace; font-size: .8rem; overflow-wrap: anywhere; }
.published { color: var(--good); }
.not-published, .forced { color: var(--bad); }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { margin: 0; max-width: none; padding: 0; font-size: 11px; }
  .scroll, figure { overflow: visible; }
  figure.large svg { max-width: 100%; max-height: 175mm; }
  h2, h3, p { break-after: avoid; }
  p, figure, tr, tbody.graph { break-inside: avoid; }
  th, td { padding: .15rem .25rem; }
}
"""
