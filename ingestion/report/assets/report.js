"use strict";
// Draws the plots from the figures beside them, and serves the switch, the search and the copying.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const plots = new Map(read("report-plots").map((plot) => [plot.key, plot]));
  const settings = read("report-settings");
  const colour = (name) => `var(--${name})`;
  const grey = colour("soft");

  // ---- plots -----------------------------------------------------------------------------
  const rows = (plot) => {
    const names = Object.keys(plot.columns);
    const length = names.length ? plot.columns[names[0]].length : 0;
    return Array.from({ length }, (_, i) =>
      Object.fromEntries(names.map((name) => [name, plot.columns[name][i]])));
  };
  const day = (text) => new Date(`${text.slice(0, 10)}T00:00:00Z`);
  const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
  const number = (value) => (value == null ? "none" : short.format(value));
  const scale = (plot) => ({
    type: "threshold", domain: plot.steps, range: plot.palette.map(colour), unknown: colour("empty"),
  });
  // How wide a text will be, as the browser itself measures it.
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const long = (text) => pen.measureText(String(text)).width;
  const room = (texts) => Math.max(0, ...texts.map(long));
  const clip = (text, width) => {
    let shown = String(text);
    if (long(shown) <= width) return shown;
    while (shown.length > 1 && long(`${shown}…`) > width) shown = shown.slice(0, -1);
    return `${shown}…`;
  };
  // Ticks of names that would run into each other are thinned out.
  const thinned = (names, width, space) => {
    const every = Math.max(1, Math.ceil((names.length * space) / Math.max(width, 1)));
    return names.filter((_, i) => (names.length - 1 - i) % every === 0);
  };
  const dates = (data, width) => {
    const found = [...new Set(data.map((row) => +day(row.date)))].sort((a, b) => a - b);
    const most = Math.max(2, Math.floor(width / 75));
    if (found.length <= most) return found.map((at) => new Date(at));
    const first = found[0], last = found[found.length - 1];
    const ticks = d3.utcTicks(new Date(first), new Date(last), most);  // about as many as asked for
    return ticks.filter((_, i) => i % Math.ceil(ticks.length / most) === 0);
  };
  const dated = (data) => {
    const found = data.map((row) => +day(row.date));
    const first = Math.min(...found), last = Math.max(...found), pad = first === last ? 864e5 : 0;
    return [new Date(first - pad), new Date(last + pad)];
  };
  const dateFormat = (data) => {
    const [first, last] = dated(data);
    return d3.utcFormat(last - first > 300 * 864e5 ? "%b %Y" : "%-d %b");
  };
  const timeAxis = (plot, data, width, left, right) => [
    Plot.axisX(dates(data, width - left - right), { tickFormat: dateFormat(data), label: null,
      color: grey, tickSize: 4 }),
  ];

  const draw = {
    calendar(plot, data, width) {
      const cells = data.map((row) => {
        const at = day(row.date);
        const monday = new Date(at - ((at.getUTCDay() + 6) % 7) * 864e5);
        return { ...row, at, week: monday.toISOString().slice(0, 10), weekday: (at.getUTCDay() + 6) % 7 };
      });
      const first = d3.min(cells, (cell) => cell.week), last = d3.max(cells, (cell) => cell.week);
      const weeks = d3.utcMonday.range(new Date(first), new Date(+new Date(last) + 864e5))
        .map((at) => at.toISOString().slice(0, 10));
      const left = 40, side = Math.max(4, Math.min(16, (width - left - 8) / weeks.length));
      const months = weeks.filter((week, i) => i === 0 || week.slice(8) <= "07");
      const spaced = [];
      for (const week of months) {
        const x = weeks.indexOf(week) * side;
        const fits = x + 38 <= side * weeks.length || !spaced.length;
        if (fits && (!spaced.length || x - spaced[spaced.length - 1].x >= 46)) spaced.push({ week, x });
      }
      const names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
      const full = left + side * weeks.length + 40;
      return {
        width: Math.min(width, Math.max(full, 140)), height: 7 * side + 28,
        marginLeft: left, marginTop: 4, marginBottom: 22,
        marginRight: Math.max(8, Math.min(width, Math.max(full, 140)) - left - side * weeks.length),
        x: { type: "band", domain: weeks, padding: 0, label: null },
        y: { type: "band", domain: d3.range(7), padding: 0, label: null },
        color: scale(plot),
        marks: [
          Plot.axisX(spaced.map((each) => each.week), { tickSize: 0, textAnchor: "start",
            dx: -side / 2, tickFormat: (week) => d3.utcFormat("%b %y")(new Date(week)), label: null,
            color: grey }),
          Plot.axisY(side >= 9 ? [0, 1, 2, 3, 4, 5, 6] : [0, 3, 6], { tickSize: 0,
            tickFormat: (i) => names[i], label: null, color: grey }),
          Plot.cell(cells, { x: "week", y: "weekday", fill: "value", inset: side > 8 ? 1 : 0.5,
            rx: 2, title: (row) => `${row.date}: ${row.note}` }),
        ],
      };
    },
    matrix(plot, data, width) {
      const xs = [...new Set(data.map((row) => row.x))], ys = [...new Set(data.map((row) => row.y))];
      const asDates = typeof xs[0] === "string" && /^\d{4}-\d\d-\d\d$/.test(xs[0]);
      const domain = asDates ? [...xs].sort() : typeof xs[0] === "number"
        ? d3.range(Math.min(0, ...xs), Math.max(23, ...xs) + 1) : xs;
      const left = Math.min(width * 0.42, room(ys) + 14);
      const space = asDates ? 46 : Math.max(24, room(domain) + 6);
      const most = asDates ? 26 : Math.max(26, space);
      const side = Math.max(5, Math.min(most, (width - left - 24) / domain.length));
      const wide = Math.min(width, left + side * domain.length + 30);
      const ticks = thinned(domain, side * domain.length, space);
      return {
        width: Math.max(wide, Math.min(width, left + 90)), height: ys.length * 20 + 28,
        marginLeft: left, marginTop: 4, marginBottom: 24,
        marginRight: Math.max(24, Math.max(wide, Math.min(width, left + 90)) - left - side * domain.length),
        x: { type: "band", domain, padding: 0, label: null },
        y: { type: "band", domain: ys, padding: 0, label: null }, color: scale(plot),
        marks: [
          Plot.axisX(ticks, { tickSize: 3, label: null, color: grey,
            tickFormat: asDates ? (at) => d3.utcFormat("%-d %b")(new Date(at)) : String }),
          Plot.axisY({ tickSize: 0, label: null, color: colour("ink"),
            tickFormat: (name) => clip(name, left - 10) }),
          Plot.cell(d3.cross(domain, ys), { x: (each) => each[0], y: (each) => each[1],
            fill: colour("raised"), inset: 0.75, rx: 2, ariaLabel: "rule of empty cells" }),
          Plot.cell(data, { x: "x", y: "y", fill: "value", inset: 0.75, rx: 2,
            title: (row) => `${row.y}, ${row.x}: ${row.note}` }),
        ],
      };
    },
    bands(plot, data, width) {
      const left = 50, right = 24;
      const of = data.map((row) => ({ ...row, at: day(row.date) }));
      const title = (row) => `${row.date}: median ${number(row.p50)}, half between ` +
        `${number(row.p25)} and ${number(row.p75)}, nine in ten between ${number(row.p5)} and ${number(row.p95)}`;
      const one = of.length === 1;
      return {
        width, height: plot.small ? 124 : 200, marginLeft: left, marginRight: right, marginTop: 8,
        marginBottom: 22, x: { type: "utc", domain: dated(data), label: null }, y: { label: null },
        marks: [
          ...timeAxis(plot, data, width, left, right),
          Plot.axisY({ ticks: 4, tickFormat: number, label: null, color: grey, tickSize: 3 }),
          Plot.gridY({ ticks: 4, stroke: colour("line"), strokeOpacity: 1 }),
          one ? Plot.ruleX(of, { x: "at", y1: "p5", y2: "p95", stroke: colour("band"), strokeWidth: 8 })
            : Plot.areaY(of, { x: "at", y1: "p5", y2: "p95", fill: colour("band") }),
          one ? Plot.ruleX(of, { x: "at", y1: "p25", y2: "p75", stroke: colour("band-inner"), strokeWidth: 8 })
            : Plot.areaY(of, { x: "at", y1: "p25", y2: "p75", fill: colour("band-inner") }),
          Plot.lineY(of, { x: "at", y: "p50", stroke: colour("accent"), strokeWidth: 1.8 }),
          Plot.dot(of, { x: "at", y: "p50", r: 2, fill: colour("accent"), title }),
        ],
      };
    },
    histogram(plot, data, width) {
      const left = 42, right = 18;
      const steps = data.flatMap((row) => [{ x: row.low, y: row.now }, { x: row.high, y: row.now }]);
      return {
        width, height: 120, marginLeft: left, marginRight: right, marginTop: 8, marginBottom: 22,
        x: { label: null }, y: { label: null, percent: true, zero: true },
        marks: [
          Plot.axisX({ ticks: Math.max(2, Math.floor((width - left) / 64)), tickFormat: number,
            label: null, color: grey, tickSize: 3 }),
          Plot.axisY({ ticks: 3, tickFormat: number, label: null, color: grey, tickSize: 3 }),
          Plot.gridY({ ticks: 3, stroke: colour("line"), strokeOpacity: 1 }),
          Plot.rect(data, { x1: "low", x2: "high", y1: () => 0, y2: "before", fill: colour("past"),
            insetLeft: 0.5, insetRight: 0.5,
            title: (row) => `${number(row.low)} to ${number(row.high)}: ` +
              `${number(100 * row.now)} % now, ${number(100 * row.before)} % before` }),
          Plot.line(steps, { x: "x", y: "y", stroke: colour("accent"), strokeWidth: 1.8 }),
        ],
      };
    },
    lines(plot, data, width) {
      const left = 56, right = 28;
      const of = data.map((row) => ({ ...row, at: day(row.date) }));
      const series = [...new Set(data.map((row) => row.series))];
      return {
        width, height: 230, marginLeft: left, marginRight: right, marginTop: 10, marginBottom: 24,
        x: { type: "utc", domain: dated(data), label: null }, y: { label: null, zero: true },
        color: { type: "ordinal", domain: series, range: plot.palette.map(colour) },
        marks: [
          ...timeAxis(plot, data, width, left, right),
          Plot.axisY({ ticks: 5, tickFormat: number, label: null, color: grey, tickSize: 3 }),
          Plot.gridY({ ticks: 5, stroke: colour("line"), strokeOpacity: 1 }),
          Plot.lineY(of, { x: "at", y: "value", z: "series", stroke: "series", strokeWidth: 1.8 }),
          Plot.dot(of, { x: "at", y: "value", fill: "series", r: of.length > 150 ? 1.2 : 2.4,
            title: (row) => `${row.date}, ${row.series}: ${number(row.value)}` }),
        ],
      };
    },
    stacked(plot, data, width) {
      const left = 50, right = 14;
      const xs = [...new Set(data.map((row) => row.x))];
      const isLong = day(xs[xs.length - 1]) - day(xs[0]) > 300 * 86400e3;
      const series = [...new Set(data.map((row) => row.series))];
      return {
        width, height: 230, marginLeft: left, marginRight: right, marginTop: 10, marginBottom: 24,
        x: { type: "band", domain: xs, label: null, padding: 0.25 }, y: { label: null },
        color: { type: "ordinal", domain: series, range: plot.palette.map(colour) },
        marks: [
          Plot.axisX(thinned(xs, width - left - right, isLong ? 70 : 52), { label: null, color: grey, tickSize: 3,
            tickFormat: (at) => d3.utcFormat(isLong ? "%b %Y" : "%-d %b")(day(at)) }),
          Plot.axisY({ ticks: 5, tickFormat: number, label: null, color: grey, tickSize: 3 }),
          Plot.gridY({ ticks: 5, stroke: colour("line"), strokeOpacity: 1 }),
          Plot.barY(data, { x: "x", y: "value", fill: "series",
            title: (row) => `${row.x}, ${row.series}: ${number(row.value)}` }),
          Plot.ruleY([0], { stroke: grey }),
        ],
      };
    },
    bars(plot, data, width) {
      const left = Math.min(width * 0.45, room(data.map((row) => row.y)) + 14);
      return {
        width: Math.min(width, 760), height: data.length * (plot.small ? 16 : 22) + 32, marginLeft: left,
        marginRight: 24, marginTop: 4, marginBottom: 24,
        y: { type: "band", domain: data.map((row) => row.y), label: null, padding: 0.2 },
        x: { label: null, zero: true },
        marks: [
          Plot.axisX({ ticks: Math.max(2, Math.floor((width - left) / 90)), tickFormat: number,
            label: null, color: grey, tickSize: 3 }),
          Plot.gridX({ ticks: Math.max(2, Math.floor((width - left) / 90)), stroke: colour("line"),
            strokeOpacity: 1 }),
          Plot.axisY({ tickSize: 0, label: null, color: colour("ink"),
            tickFormat: (name) => clip(name, left - 10) }),
          Plot.barX(data, { y: "y", x: "value", fill: colour("s0"),
            title: (row) => `${row.y}: ${row.note}` }),
          Plot.ruleX([0], { stroke: grey }),
        ],
      };
    },
  };

  // The two axes say under and above the drawing what they are, so that no text is turned.
  const label = (text, kind) => {
    const line = document.createElement("p");
    line.className = `axis ${kind}`;
    line.textContent = text;
    return line;
  };
  const render = (figure) => {
    const plot = plots.get(figure.dataset.key), place = figure.querySelector(".drawing");
    const width = Math.floor(place.clientWidth);
    if (!width || figure.dataset.width === String(width)) return;
    figure.dataset.width = String(width);
    const data = rows(plot);
    const options = draw[plot.kind](plot, data, width);
    const svg = Plot.plot({ ...options, style: { background: "none", fontSize: "11px",
      fontFamily: "inherit", overflow: "visible" },
      ariaLabel: plot.title, ariaDescription: `${plot.x}; ${plot.y}; ${data.length} figures` });
    svg.setAttribute("role", "img");
    const around = document.createElement("div");
    around.className = "around";
    around.style.width = `${options.width}px`;
    around.append(label(`↑ ${plot.y}`, "y"), svg, label(`${plot.x} →`, "x"));
    place.replaceChildren(around);
  };
  const figures = [...document.querySelectorAll("figure.plot")];
  const renderAll = () => new Promise((done) => {
    const waiting = [...figures];
    const next = () => {
      const until = performance.now() + 24;
      while (waiting.length && performance.now() < until) render(waiting.shift());
      if (waiting.length) setTimeout(next); else done();
    };
    next();
  });
  const ready = () => { document.documentElement.dataset.ready = "yes"; };
  renderAll().then(ready);
  let pending;
  addEventListener("resize", () => { clearTimeout(pending); pending = setTimeout(renderAll, 150); });

  // ---- the figures of a plot, as a table ---------------------------------------------------
  const MOST = 400;
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text != null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  for (const figure of figures) {
    figure.querySelector("details.figures").addEventListener("toggle", (event) => {
      const details = event.target;
      if (!details.open || details.querySelector("table")) return;
      const plot = plots.get(figure.dataset.key), all = rows(plot), names = Object.keys(plot.columns);
      const table = element("table"), head = element("tr"), body = element("tbody");
      const shown = all.length > MOST ? `the first ${MOST} of ${all.length}` : `all ${all.length}`;
      table.append(element("caption", `${plot.title}: ${shown}`));
      for (const name of names) head.append(element("th", name, { scope: "col" }));
      for (const row of all.slice(0, MOST)) {
        const line = element("tr");
        for (const name of names) line.append(element("td", row[name] == null ? "–" : String(row[name])));
        body.append(line);
      }
      const top = element("thead");
      top.append(head);
      table.append(top, body);
      const box = element("div", null, { class: "table", role: "region", tabindex: "0",
        "aria-label": `Figures of ${plot.title}` });
      box.append(table);
      details.append(box);
    });
  }

  // ---- light and dark ----------------------------------------------------------------------
  const root = document.documentElement, button = document.getElementById("theme");
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const kept = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("theme", name); } catch { /* a page of its own */ } } };
  const isDark = () => (root.dataset.theme || (preferred.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(isDark()));
    button.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  };
  if (kept.get()) root.dataset.theme = kept.get();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept.set(root.dataset.theme);
    showTheme();
  });
  preferred.addEventListener("change", showTheme);
  showTheme();

  // ---- search, copying, where one is -------------------------------------------------------
  const search = document.getElementById("search"), found = document.getElementById("found");
  if (search) {
    const cards = [...document.querySelectorAll("article.feature")];
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const card of cards) {
        card.hidden = !words.every((word) => card.dataset.words.includes(word));
        count += !card.hidden;
      }
      for (const group of document.querySelectorAll("section.group")) {
        group.hidden = !group.querySelector("article.feature:not([hidden])");
      }
      found.textContent = `${count} of ${cards.length} features`;
      renderAll();
    });
  }
  for (const copy of document.querySelectorAll("button.copy")) {
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(copy.dataset.copy);
        copy.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(copy.previousElementSibling);
      }
    });
  }
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const [key, a] of links) {
        if (key === entry.target.id) a.setAttribute("aria-current", "true");
        else a.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const key of links.keys()) seen.observe(document.getElementById(key));

  // ---- served pages ask whether there is a newer one ---------------------------------------
  if (settings.refresh) {
    setInterval(async () => {
      try {
        const answer = await fetch("/made", { cache: "no-store" });
        if (answer.ok && (await answer.text()) !== settings.state) location.reload();
      } catch { /* the server is gone; the page stays as it is */ }
    }, settings.refresh * 1000);
  }
})();
