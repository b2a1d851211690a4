#pragma once

#include <string_view>

namespace sophia::report {

inline constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --a: #1668c7; --b: #c2410c; --soft: #8884; --good: #15803d; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --a: #6cb2ff; --b: #ff9d5c; --good: #6ee7a0; --bad: #ff8a80; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1rem 1.5rem; }
h1 { margin: 0; font-size: 1.5rem; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; }
dl div { border: 1px solid var(--soft); border-radius: 6px; padding: .35rem .8rem; }
dt { font-size: .8rem; opacity: .75; }
dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(380px, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--soft); border-radius: 6px; padding: .5rem; }
figcaption { font-weight: 600; }
figcaption span, figcaption small { font-weight: 400; margin-left: .6em; }
svg { width: 100%; display: block; }
svg text { font-size: 12px; fill: currentColor; text-anchor: middle; }
svg text.y { text-anchor: end; }
.grid { stroke: var(--soft); }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line0 { stroke: var(--a); } .dot0 { fill: var(--a); } .name0 { color: var(--a); }
.line1 { stroke: var(--b); } .dot1 { fill: var(--b); } .name1 { color: var(--b); }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--soft); padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
th { font-weight: 500; }
pre { margin: 0; white-space: pre-wrap; font: .85rem/1.4 ui-monospace, monospace; }
summary { cursor: pointer; padding: .2rem 0; }
.good { color: var(--good); } .bad { color: var(--bad); }
)css";

// What is unfolded stays so when the body is replaced.
inline constexpr std::string_view kScript = R"js(
const main = document.querySelector('main');
const link = document.getElementById('link');
async function refresh() {
  try {
    const reply = await fetch('body' + location.search, {cache: 'no-store'});
    if (!reply.ok) throw new Error(reply.status);
    const text = await reply.text();
    const open = [...main.querySelectorAll('details[open]')].map((one) => one.id);
    main.innerHTML = text;
    for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    link.textContent = '';
  } catch (error) {
    link.textContent = 'No answer from the run; it may have ended. This is what it last said.';
  }
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
)js";

}  // namespace sophia::report
