"""The look of the page at `/docs`, and its few lines of script. Both stand in the page itself, and its
Content-Security-Policy names them by their hash: a change here changes the policy with it."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--raised:#f6f7f9;--line:#e2e5ea;--ink:#1b1f27;--soft:#5b6472;
  --accent:#3553d1;
--code:#f3f4f7;--string:#1a6b45;--name:#3553d1;--literal:#a3460b;--get:#1a6b45;--post:#3553d1;--delete:#b3261e;
  --warn:#a3460b}
@media (prefers-color-scheme:dark){:root{--ground:#111419;--raised:#181c23;--line:#2a303a;--ink:#e4e7ec;
  --soft:#98a2b3;
--accent:#8ea6ff;--code:#181c23;--string:#7fd1a3;--name:#8ea6ff;--literal:#f0a36b;--get:#6fcf97;--post:#8ea6ff;
  --delete:#f28b82;--warn:#f0a36b}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:1.25rem;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--ground);color:var(--ink);
  font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
code,pre,.name,.type,.path,.method{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
code{font-size:.875em;background:var(--code);border-radius:4px;padding:.1em .3em;overflow-wrap:anywhere}
pre{margin:0;padding:.9rem 1rem;background:var(--code);border:1px solid var(--line);border-radius:8px;overflow-x:auto;
  font-size:.8125rem;line-height:1.55;tab-size:2}
pre code{background:none;padding:0;font-size:inherit;overflow-wrap:normal}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .25rem;letter-spacing:-.02em}
h2{font-size:1.4rem;line-height:1.3;margin:0 0 .5rem;letter-spacing:-.01em}
h3{font-size:1.1rem;line-height:1.4;margin:0}
h4{font-size:.75rem;letter-spacing:.06em;text-transform:uppercase;color:var(--soft);margin:1.6rem 0 .5rem;
  font-weight:600}
p{margin:.6rem 0}
.skip{position:absolute;left:-99em}.skip:focus{left:1rem;top:1rem;background:var(--ground);padding:.5rem;z-index:2}
.frame{display:grid;grid-template-columns:18rem minmax(0,1fr);max-width:82rem;margin:0 auto}
.side{position:sticky;top:0;scrollbar-width:thin;height:100vh;overflow-y:auto;padding:1.5rem 1rem 2rem 1.5rem;
  border-right:1px solid var(--line);font-size:.875rem}
.side .brand{display:inline-block;padding:0 .45rem;font-weight:700;font-size:1rem;color:var(--ink);
  letter-spacing:-.01em}
.side ul{list-style:none;margin:.2rem 0 .9rem;padding:0}
.side li a{display:flex;gap:.55rem;padding:.17rem .45rem;border-radius:5px;color:var(--ink);align-items:baseline}
.side li a:hover{background:var(--raised);text-decoration:none}
.side .group{margin:.9rem .45rem .1rem;font-size:.7rem;letter-spacing:.06em;text-transform:uppercase;
  color:var(--soft);font-weight:600}
.side .method{font-size:.65rem;flex:0 0 2.6rem}
main{padding:2.5rem 3rem 6rem;min-width:0;max-width:60rem}
section{margin:0 0 3.5rem}
.lead{color:var(--soft);font-size:1.05rem;margin:0 0 1.25rem}
.method{font-weight:700;font-size:.78rem}
.GET{color:var(--get)}.POST{color:var(--post)}.DELETE{color:var(--delete)}
.operation{border-top:1px solid var(--line);padding-top:1.75rem;margin:0 0 2.75rem}
.operation>h3 a{color:inherit}
.call{display:flex;flex-wrap:wrap;gap:.3rem .7rem;align-items:center;margin:.35rem 0 .2rem}
.call .method{border:1px solid currentColor;border-radius:5px;padding:.02rem .45rem}
.call .path{font-size:.95rem;overflow-wrap:anywhere}
.chip{display:inline-block;font-size:.75rem;border:1px solid var(--line);background:var(--raised);color:var(--soft);
  border-radius:99px;padding:.02rem .6rem;white-space:nowrap}
.rows{border:1px solid var(--line);border-radius:8px;overflow:hidden}
.row{display:grid;grid-template-columns:minmax(9rem,13rem) minmax(0,1fr);gap:.1rem 1rem;padding:.55rem .9rem}
.row+.row{border-top:1px solid var(--line)}
.row .name{font-size:.85rem;line-height:1.75;font-weight:600;overflow-wrap:anywhere}
.row .must{display:block;font:600 .68rem/1.4 system-ui,sans-serif;color:var(--warn)}
.row .type{font-size:.8rem;color:var(--soft);overflow-wrap:anywhere}
.row .type+.limits::before{content:"· "}
.row p{margin:.1rem 0 0;font-size:.9rem}
.row .limits{color:var(--soft);font-size:.8rem}
details.inner{grid-column:2;margin:.3rem 0 .1rem;min-width:0}
details.inner>.rows{margin:.45rem 0 .2rem;background:var(--ground)}
details.inner>p{font-size:.9rem}
.rows .rows .row{grid-template-columns:minmax(7rem,9.5rem) minmax(0,1fr)}
.rows .rows .rows .row{grid-template-columns:minmax(0,1fr)}.rows .rows .rows .row>*{grid-column:1}
summary{cursor:pointer;color:var(--accent);font-size:.85rem;width:fit-content}
details.example,details.answer{margin:.5rem 0}
details.example>summary,details.answer>summary{padding:.15rem 0;font-size:.9rem}
.codes{list-style:none;margin:0;padding:0;display:grid;gap:.35rem}
.codes li{display:flex;gap:.8rem;align-items:baseline;font-size:.9rem}
.codes .status{font-weight:600;flex:0 0 2.2rem;font-variant-numeric:tabular-nums}
.codes .names{display:flex;flex-wrap:wrap;gap:.2rem .5rem}
.note{color:var(--soft);font-size:.85rem}
.block{position:relative;margin:.5rem 0}
.block button{position:absolute;top:.45rem;right:.45rem;font:500 .72rem/1 system-ui,sans-serif;color:var(--soft);
  background:var(--ground);border:1px solid var(--line);border-radius:5px;padding:.35rem .5rem;cursor:pointer;
  opacity:0;transition:opacity .12s}
.block:hover button,.block button:focus-visible{opacity:1}
@media (hover:none){.block button{opacity:.9}}
.s{color:var(--string)}.k{color:var(--name)}.l{color:var(--literal)}
.error{display:grid;grid-template-columns:2.6rem minmax(0,1fr);gap:0 .7rem;padding:.8rem .9rem}
.error+.error{border-top:1px solid var(--line)}
.error .status{font-weight:700;font-variant-numeric:tabular-nums;color:var(--soft)}
.error code{background:none;padding:0;font-weight:600}
.error p code{font-weight:400}
.error p{margin:.1rem 0;font-size:.9rem}
.error:target,.kind:target{background:var(--raised)}
.kind{border-top:1px solid var(--line);padding:1.4rem 0}
.kind h3{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.95rem;margin-bottom:.3rem}
.kind p{margin:.2rem 0 .6rem;font-size:.9rem}
.menu,.menu-label{position:absolute;left:-99em}
@media (max-width:56rem){
.frame{display:block}
.side{position:static;height:auto;border-right:0;border-bottom:1px solid var(--line);padding:.8rem 1.1rem}
.menu{opacity:0}
.menu-label{position:static;float:right;border:1px solid var(--line);border-radius:6px;padding:.1rem .7rem;
  cursor:pointer;color:var(--accent)}
.menu:focus-visible+.menu-label{outline:2px solid var(--accent)}
.side nav{display:none;padding-top:.6rem}
.menu:checked~nav{display:block}
.side li a{padding:.35rem .45rem}
main{padding:1.5rem 1.1rem 4rem}
h1{font-size:1.6rem}
.row{grid-template-columns:minmax(0,1fr);padding:.6rem .75rem}
details.inner{grid-column:1}
.row .must{display:inline;margin-left:.5rem}
.rows .rows .row{grid-template-columns:minmax(0,1fr);padding-left:.6rem}
pre{padding:.75rem .8rem;font-size:.76rem}
}
@media print{.side,.block button{display:none}.frame{display:block}}
"""

# Without the script the page loses nothing but the copy buttons, and its examples name the default address.
SCRIPT = """
for(const block of document.querySelectorAll('.block')){
const code=block.querySelector('code');
const walk=document.createTreeWalker(code,NodeFilter.SHOW_TEXT);
while(walk.nextNode())walk.currentNode.data=walk.currentNode.data.replace('http://127.0.0.1:8080',location.origin);
if(!navigator.clipboard)continue;
const button=document.createElement('button');
button.type='button';button.textContent='Copy';
button.onclick=async()=>{await navigator.clipboard.writeText(code.textContent);button.textContent='Copied';
setTimeout(()=>{button.textContent='Copy'},1500)};
block.append(button)}
"""
