/**
 * The looks of the report page, in light and dark.
 * Runs on: the benchmark's main process. Owns: nothing.
 */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ground: #fff; --text: #1d2126; --soft: #5c6570; --rule: #d9dde2;
  --panel: #f5f6f8; --bad: #b3261e; --good: #1b7a3d; --note: #8a5a00;
  --c0: #2563c9; --c1: #d1600a; --c2: #1b7a3d; --c3: #9333a8; --c4: #0e7c86; --c5: #a3323f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --text: #e4e7eb; --soft: #9aa3ae;
  --rule: #343b43; --panel: #1d2228; --bad: #ff8a80; --good: #6fd08c; --note: #f0c05a;
  --c0: #7db1ff; --c1: #ffa45c; --c2: #6fd08c; --c3: #d79bea; --c4: #5fd0d9; --c5: #ff98a3; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--ground);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem;
  padding-top: 1rem; border-top: 1px solid var(--rule) } h3 { font-size: 1rem; margin: 1.5rem 0 .4rem }
p { margin: .3rem 0 } .soft { color: var(--soft) }
.verdict { font-weight: 600 } .good { color: var(--good) } .bad { color: var(--bad) }
.note { color: var(--note); font-size: .9rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .4rem 0 }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule) }
th { color: var(--soft); font-weight: 500 } th:first-child, td:first-child { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: .4rem 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
code, .mono { font: 13px/1.5 ui-monospace, monospace }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap: 1rem }
figure { margin: 0; padding: .75rem; background: var(--panel); border-radius: 6px }
figcaption { font-weight: 600; font-size: .95rem }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; list-style: none; margin: .2rem 0 0;
  padding: 0; font-size: .85rem; color: var(--soft) }
.key { display: inline-block; width: .9rem; height: .2rem; margin-right: .4rem;
  vertical-align: middle; background: currentColor }
svg { display: block; width: 100%; height: auto; margin-top: .3rem }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif }
.grid { stroke: var(--rule); stroke-width: 1 } .shade { fill: var(--rule); opacity: .45 }
.line { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round }
.dot { fill: currentColor }
${[0, 1, 2, 3, 4, 5].map((i) => `.c${i} { color: var(--c${i}) }`).join(' ')}
details { margin: .6rem 0 } summary { cursor: pointer; color: var(--soft) }
.config { columns: 22rem; } .config div { break-inside: avoid }
`
