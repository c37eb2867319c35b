"""What must be true of a page as a browser shows it: found in its layout, not in its source."""

from __future__ import annotations

from typing import Any

from tests.report.browser import Page

_SCRIPT = r"""
(() => {
  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const rgb = (text) => {
    const found = text.match(/[\d.]+/g);
    return found ? found.map(Number) : [0, 0, 0, 0];
  };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return rgb(getComputedStyle(document.documentElement).backgroundColor);
  };
  const bright = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [bright(a), bright(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const faint = [], clipped = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "title"].includes(parent.tagName)) continue;
    if (!shown(parent) || parent.closest(".hidden, .skip")) continue;
    const style = getComputedStyle(parent), inSvg = parent.namespaceURI.endsWith("svg");
    const range = document.createRange();
    range.selectNodeContents(node);
    const said = node.data.trim().slice(0, 50);
    const scrolls = parent.closest(".table"), sticks = parent.closest("header.top, nav, .search");
    for (const r of inSvg ? [parent.getBoundingClientRect()] : range.getClientRects()) {
      if (r.width < 1 || r.height < 1) continue;
      if (!scrolls && (r.left < -0.5 || r.right > document.documentElement.clientWidth + 0.5)) {
        clipped.push(`${said} at ${Math.round(r.left)} to ${Math.round(r.right)}`);
      }
      const around = inSvg ? parent.ownerSVGElement.getBoundingClientRect() : null;
      if (around && (r.left < around.left - 1 || r.right > around.right + 1
          || r.top < around.top - 1 || r.bottom > around.bottom + 1)) {
        clipped.push(`${said} beyond its drawing ${parent.closest("figure").dataset.key}`);
      }
      if (!sticks) boxes.push({ said, x: r.left, y: r.top + scrollY, r: r.right,
        b: r.bottom + scrollY, parent, inSvg, scrolls });
    }
    const own = rgb(inSvg ? style.fill : style.color), ratio = contrast(own, behind(parent));
    if (ratio < 4.5) faint.push(`${said}: ${ratio.toFixed(2)}`);
  }
  boxes.sort((a, b) => a.y - b.y);
  const over = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length && boxes[j].y < boxes[i].b; j++) {
      const a = boxes[i], b = boxes[j];
      if (a.parent === b.parent && !a.inSvg) continue;
      if ((a.scrolls || b.scrolls) && a.scrolls !== b.scrolls) continue;
      const wide = Math.min(a.r, b.r) - Math.max(a.x, b.x);
      const high = Math.min(a.b, b.b) - Math.max(a.y, b.y);
      // The lines of one paragraph overlap by their leading; letters do not.
      const letters = 0.3 * Math.min(a.b - a.y, b.b - b.y);
      if (wide > 1 && high > letters) over.push(`${a.said} | ${b.said}`);
    }
  }
  const empty = [], bare = [], plots = [...document.querySelectorAll("figure.plot")];
  for (const figure of plots) {
    const marks = [...figure.querySelectorAll("svg g[aria-label] > :is(rect, path, circle, line)")]
      .filter((mark) => !/axis|grid|rule/.test(mark.parentElement.getAttribute("aria-label")));
    const drawn = marks.filter((mark) => {
      const box = mark.getBoundingClientRect();
      return box.width > 0 || box.height > 0;
    });
    if (!drawn.length) empty.push(figure.dataset.key);
    for (const kind of ["x", "y"]) {
      const axis = figure.querySelector(`.axis.${kind}`);
      if (!axis || !/\(.+\)/.test(axis.textContent)) bare.push(`${figure.dataset.key} ${kind}`);
    }
    const text = figure.querySelectorAll("svg text");
    if (text.length < 2) bare.push(`${figure.dataset.key} has no ticks`);
  }
  const broken = [...document.querySelectorAll(".option")]
    .filter((option) => option.getClientRects().length > 1).map((option) => option.textContent);
  return { broken, plots: plots.length, texts: boxes.length, faint, clipped, over, empty, bare,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };
})()
"""


def faults(page: Page) -> dict[str, Any]:
    """Return what is wrong with a page, by kind; and how much was looked at."""
    found: dict[str, Any] = page.run(_SCRIPT)
    assert found["texts"] > 50
    wrong = {
        kind: found[kind]
        for kind in ("faint", "clipped", "over", "empty", "bare", "broken")
        if found[kind]
    }
    if found["wide"] > 0:
        wrong["wider than the window"] = found["wide"]
    if page.complaints:
        wrong["complaints"] = page.complaints
    if strange := [url for url in page.requests if not url.startswith(("file:", "data:"))]:
        wrong["requests"] = strange
    return wrong
