// Looks at a page in the browser and leaves what it finds as JSON in the page around it, where --dump-dom shows it.
(async () => {
  const width = document.documentElement.clientWidth;
  const name = (e) => `${e.tagName.toLowerCase()}.${e.getAttribute("class") || ""}: ${e.textContent.slice(0, 60)}`;
  const beyond = [], clipped = [], hidden = [];
  for (const e of document.querySelectorAll("body *")) {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    if (style.display === "none" || e.closest("style, script, thead, svg *") || !box.width) continue;
    if (box.left < -0.5 || box.right > width + 0.5) beyond.push(name(e));
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && style.display !== "inline") clipped.push(name(e));
    if (e.scrollHeight > e.clientHeight + 1 && style.overflowY !== "visible") hidden.push(name(e));
  }
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const faults = found.violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html).join(" | ")}`);
  const out = parent.document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify({
    width, wide: document.documentElement.scrollWidth, beyond, clipped, hidden, faults, checked: found.passes.length,
    background: getComputedStyle(document.body).backgroundColor,
  });
  parent.document.body.append(out);
})();
