"""The style of a page: light and dark, from a phone to a desk; no change is told by colour alone."""

STYLE = """
:root{--ink:#1b1f24;--soft:#5a6470;--paper:#ffffff;--card:#f4f6f8;--line:#d5dae0;
--blue:#0072b2;--orange:#b84a00;--ins:#d3ecf9;--del:#fbe0cf}
@media (prefers-color-scheme:dark){:root{--ink:#e7eaee;--soft:#a3adb9;--paper:#14181d;--card:#1e242b;--line:#39424d;
--blue:#5cb8ee;--orange:#f0995f;--ins:#123f57;--del:#55280f}}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;margin:.1rem 0 1rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin:0 0 .6rem}h3{font-size:1rem;margin:1rem 0 .3rem}
section{margin:2.2rem 0;border-top:1px solid var(--line);padding-top:1.2rem}
.kind,.note,.legend,.meta,small{color:var(--soft);font-size:.85rem}.kind{margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.7rem}
.tile{background:var(--card);border-radius:.5rem;padding:.8rem;display:flex;flex-direction:column}
.tile b{font-size:1.5rem;line-height:1.2}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;width:100%}
th,td{text-align:start;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:7rem}th{font-weight:600}
figure{margin:0 0 1.4rem}figcaption{font-weight:600;font-size:.95rem;margin-bottom:.5rem}
.row{display:grid;grid-template-columns:minmax(6rem,11rem) 1fr 11.5rem;gap:.7rem;align-items:center;min-height:1.8rem}
.label{overflow-wrap:anywhere;font-size:.9rem}.value{font-size:.85rem;font-variant-numeric:tabular-nums}
.track{position:relative;display:block;height:1.2rem;background:linear-gradient(var(--line),var(--line)) center/100% 1px no-repeat}
.whisker{position:absolute;top:calc(50% - 2px);height:4px;min-width:2px;background:var(--blue);opacity:.55}
.dot{position:absolute;top:calc(50% - 5px);width:10px;height:10px;margin-left:-5px;border-radius:50%;background:var(--blue)}
.ticks{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft)}
.two{background:linear-gradient(var(--soft),var(--soft)) center/1px 100% no-repeat}
.two i{position:absolute;top:15%;height:70%;border:1.5px solid var(--blue)}
.two .up{left:50%}.two .down{right:50%;border-color:var(--orange)}
.two.shown .up{background:var(--blue)}.two.shown .down{background:var(--orange)}
.columns{position:relative;display:flex;align-items:flex-end;gap:2px;height:9rem;border-bottom:1px solid var(--soft);padding-top:1rem}
.most{position:absolute;top:0;left:0;font-size:.8rem;color:var(--soft)}
.bar{flex:1;min-height:1px;background:var(--blue)}.bar.same{background:var(--soft);margin-right:6px}.bar.above{background:var(--orange);margin-left:6px}
.key{display:inline-block;width:.8rem;height:.8rem;vertical-align:-1px;margin-left:.6rem;background:var(--blue)}
.key.same{background:var(--soft);margin-left:0}.key.above{background:var(--orange)}
article{background:var(--card);border-radius:.5rem;padding:.7rem .9rem;margin:.7rem 0}article p{margin:.2rem 0}
.prompt{color:var(--soft);font-size:.9rem;white-space:pre-wrap;overflow-wrap:anywhere;
border-inline-start:3px solid var(--line);padding-inline-start:.6rem}
.diff{white-space:pre-wrap;overflow-wrap:anywhere}
ins{background:var(--ins);text-decoration:underline;text-decoration-thickness:2px}del{background:var(--del);text-decoration:line-through}
@media (max-width:40rem){.row{grid-template-columns:1fr 1fr}.row .track,
.row .ticks{grid-column:1/-1;grid-row:2}.row .value{text-align:end}.axis .label,.axis .value{display:none}}
@media print{section{break-inside:avoid}}
"""
