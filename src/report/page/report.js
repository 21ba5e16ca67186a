// Draws the charts of a report and follows the reader's theme, width and printer. Runs in the page, alone with Plotly.
(() => {
  "use strict";

  const HEAT_STEPS = 5;
  const PRINT_WIDTH_PX = 680;
  const LABEL_PX = 30;
  const LETTER_PX = 7;
  const LABEL_GAP_PX = 6;
  const ROW_LABEL_PX = 13;
  const NARROW_PX = 520;

  const root = document.documentElement;
  const panels = JSON.parse(document.getElementById("report-data").textContent);
  const isDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isFine = window.matchMedia("(pointer: fine)");
  let paper = false;

  // Plotly reads a few tags in labels: names out of files must stay what they are.
  const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const plainAll = (values) => values.map((value) => (typeof value === "string" ? plain(value) : value));
  const shorten = (value) =>
    Number.isInteger(value)
      ? value.toLocaleString("en")
      : Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });

  function readTheme() {
    const style = getComputedStyle(root);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    const names = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "muted", "ink"];
    return {
      colors: Object.fromEntries(names.map((name) => [name, read(name)])),
      surface: read("surface"),
      raised: read("raised"),
      ink: read("ink"),
      muted: read("muted"),
      line: read("line"),
      grid: read("grid"),
      heat: Array.from({ length: HEAT_STEPS }, (_, index) => [index / (HEAT_STEPS - 1), read(`heat-${index}`)]),
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  // Black or white, whichever is easier to read on a colour.
  function inkOn(color) {
    const channels = (color.match(/[0-9a-f]{2}/gi) ?? []).slice(0, 3).map((hex) => {
      const value = Number.parseInt(hex, 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    const light = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2];
    return light > 0.28 ? "#14171b" : "#ffffff";
  }

  function drawBars(trace, theme) {
    const color = theme.colors[trace.color];
    return {
      type: "bar",
      name: plain(trace.name),
      orientation: trace.horizontal ? "h" : "v",
      x: plainAll(trace.x),
      y: plainAll(trace.y),
      ...(trace.base === null ? {} : { base: trace.base }),
      ...(trace.text === null
        ? {}
        : {
            text: plainAll(trace.text),
            textposition: "inside",
            insidetextanchor: "middle",
            textangle: 0,
            textfont: { color: inkOn(color), size: 12 },
          }),
      marker: {
        color,
        line: { width: 0 },
        pattern: {
          shape: trace.pattern,
          fillmode: "overlay",
          fgcolor: theme.surface,
          fgopacity: 0.45,
          size: 6,
          solidity: 0.22,
        },
      },
      hovertext: plainAll(trace.hover),
      hoverinfo: "text",
    };
  }

  function drawPoints(trace, theme) {
    const color = theme.colors[trace.color];
    return {
      type: "scatter",
      mode: [trace.line ? "lines" : "", trace.markers ? "markers" : ""].filter(Boolean).join("+"),
      name: plain(trace.name),
      x: plainAll(trace.x),
      y: trace.y,
      connectgaps: false,
      cliponaxis: trace.line,
      line: { color, width: 2, dash: trace.dash },
      marker: {
        color,
        symbol: trace.symbol,
        size: 8,
        opacity: trace.line ? 1 : 0.8,
        line: { width: trace.symbol.endsWith("-open") ? 1.5 : 0, color },
      },
      hovertext: plainAll(trace.hover),
      hoverinfo: "text",
    };
  }

  function drawHeat(trace, theme) {
    return {
      type: "heatmap",
      name: plain(trace.name),
      x: plainAll(trace.x),
      y: plainAll(trace.y),
      z: trace.z,
      zmin: trace.z_range[0],
      zmax: trace.z_range[1],
      colorscale: theme.heat,
      showscale: false,
      hoverongaps: false,
      xgap: 0,
      ygap: 1,
      hovertemplate: `%{y}, step %{x}: %{z:.3~g} ${plain(trace.z_title)}<extra></extra>`,
    };
  }

  function drawTrace(trace, theme) {
    if (trace.type === "bar") return drawBars(trace, theme);
    return trace.type === "points" ? drawPoints(trace, theme) : drawHeat(trace, theme);
  }

  // A label for every category where there is room, else the first, the last, and every second, fifth, tenth, ... of
  // those that are numbers (of all, where they are words).
  function thin(categories, room) {
    const pitch = room / categories.length;
    const half = (name) => (name.length * LETTER_PX) / 2 + LABEL_GAP_PX;
    const fits = (a, b) => Math.abs(a - b) * pitch >= half(categories[a]) + half(categories[b]);
    const inner = categories.map((_, index) => index).slice(1, -1);
    for (const every of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]) {
      const round = inner.filter((index) => {
        const number = Number(categories[index]);
        return (Number.isInteger(number) ? number : index) % every === 0;
      });
      if (round.some((index, place) => place > 0 && !fits(index, round[place - 1]))) continue;
      const ends = [0, categories.length - 1];
      return [...ends, ...round.filter((index) => ends.every((end) => fits(index, end)))].map(
        (index) => categories[index],
      );
    }
    return [categories[0]];
  }

  // The same down the side, where every label is as high as another.
  function thinRows(categories, room) {
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(
      (step) => (categories.length / step) * ROW_LABEL_PX <= room,
    );
    return categories.filter((_, index) => index % (every ?? categories.length) === 0);
  }

  function listCategories(panel, side) {
    if (panel[side].categories !== null) return panel[side].categories.map(plain);
    const seen = new Set();
    for (const trace of panel.traces) for (const value of trace[side]) seen.add(plain(value));
    return [...seen];
  }

  function makeAxis(panel, side, theme, room, isNarrow) {
    const spec = panel[side];
    const axis = {
      type: spec.kind,
      title: { text: plain(spec.title), standoff: 10, font: { size: 12, color: theme.muted } },
      automargin: true,
      color: theme.muted,
      gridcolor: theme.grid,
      linecolor: theme.line,
      zeroline: false,
      ticks: "",
      tickfont: { size: 12, color: theme.muted },
      exponentformat: "none",
      separatethousands: true,
      fixedrange: spec.kind === "category",
    };
    if (spec.kind === "category") {
      const categories = listCategories(panel, side);
      axis.categoryorder = "array";
      axis.categoryarray = categories;
      axis.tickvals = side === "x" ? thin(categories, room) : thinRows(categories, room);
      axis.ticktext = axis.tickvals.map((name) => (side === "y" && isNarrow ? name.replaceAll(", ", "<br>") : name));
      axis.tickangle = 0;
      axis.showgrid = false;
    } else if (spec.ticks !== null) {
      const isLog = spec.kind === "log";
      const place = isLog ? Math.log10 : (value) => value;
      const ends = spec.range ?? [spec.ticks[0], spec.ticks.at(-1)];
      const span = Math.max(place(ends[1]) - place(ends[0]), Number.MIN_VALUE);
      let last = Number.NEGATIVE_INFINITY;
      axis.tickvals = spec.ticks.filter((value) => {
        const at = (place(value) / span) * room;
        if (at - last < LABEL_PX) return false;
        last = at;
        return true;
      });
      axis.ticktext = axis.tickvals.map(shorten);
    } else {
      axis.nticks = Math.max(3, Math.floor(room / (side === "x" ? 80 : 45)));
    }
    if (spec.range !== null) axis.range = spec.kind === "log" ? spec.range.map(Math.log10) : spec.range;
    else if (spec.from_zero && spec.kind === "linear") axis.rangemode = "tozero";
    if (spec.reversed) axis.autorange = "reversed";
    return axis;
  }

  function makeLayout(panel, theme, width) {
    const isNarrow = width < NARROW_PX;
    const x = makeAxis(panel, "x", theme, width - 70, isNarrow);
    const y = makeAxis(panel, "y", theme, panel.height_px - 70, isNarrow);
    return {
      width,
      height: panel.height_px,
      margin: { l: 8, r: 12, t: panel.moments.length > 0 ? 26 : 12, b: 8, pad: 4 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: theme.font, size: 12, color: theme.ink },
      showlegend: false,
      barmode: panel.bars,
      bargap: panel.traces.some((trace) => trace.base) ? 0.35 : 0.2,
      dragmode: isFine.matches ? "zoom" : false,
      hovermode: "closest",
      hoverlabel: {
        bgcolor: theme.raised,
        bordercolor: theme.line,
        font: { family: theme.font, size: 12, color: theme.ink },
        align: "left",
      },
      xaxis: x,
      yaxis: y,
      shapes: panel.moments.map((moment) => ({
        type: "line",
        x0: moment.x,
        x1: moment.x,
        yref: "paper",
        y0: 0,
        y1: 1,
        line: { color: theme.muted, width: 1, dash: "dash" },
      })),
      annotations: panel.moments.map((moment) => ({
        x: moment.x,
        y: 1,
        yref: "paper",
        yanchor: "bottom",
        text: plain(moment.label),
        showarrow: false,
        font: { size: 11, color: theme.muted },
      })),
    };
  }

  async function draw(panel, element, theme) {
    const width = paper ? Math.min(PRINT_WIDTH_PX, element.clientWidth || PRINT_WIDTH_PX) : element.clientWidth;
    if (width === 0) return;
    const traces = panel.traces.map((trace) => drawTrace(trace, theme));
    const layout = makeLayout(panel, theme, width);
    try {
      await window.Plotly.react(element, traces, layout, { displayModeBar: false, displaylogo: false });
    } catch (error) {
      element.className = "plot-failed";
      element.textContent = "This chart could not be drawn; its numbers are in the table below.";
      throw error;
    }
  }

  async function drawAll() {
    const theme = readTheme();
    for (const panel of panels) {
      await draw(panel, document.getElementById(`plot-${panel.id}`), theme);
    }
  }

  function openTables() {
    for (const button of document.querySelectorAll(".toggle")) {
      const table = document.getElementById(button.getAttribute("aria-controls"));
      button.addEventListener("click", () => {
        const isOpen = table.classList.toggle("open");
        button.setAttribute("aria-expanded", String(isOpen));
        button.textContent = isOpen ? "Hide the numbers" : "Show the numbers";
      });
    }
  }

  function followWidth() {
    const byElement = new Map(panels.map((panel) => [document.getElementById(`plot-${panel.id}`), panel]));
    const widths = new Map();
    const observer = new ResizeObserver((entries) => {
      if (paper) return;
      const theme = readTheme();
      for (const { target } of entries) {
        if (widths.get(target) === target.clientWidth) continue;
        widths.set(target, target.clientWidth);
        void draw(byElement.get(target), target, theme);
      }
    });
    for (const element of byElement.keys()) {
      widths.set(element, element.clientWidth);
      observer.observe(element);
    }
  }

  function followPrinter() {
    const switchTo = (toPaper) => {
      if (paper === toPaper) return;
      paper = toPaper;
      root.toggleAttribute("data-paper", toPaper);
      void drawAll();
    };
    window.addEventListener("beforeprint", () => switchTo(true));
    window.addEventListener("afterprint", () => switchTo(false));
    window.matchMedia("print").addEventListener("change", (event) => switchTo(event.matches));
  }

  openTables();
  for (const panel of panels) document.getElementById(`plot-${panel.id}`).style.height = `${panel.height_px}px`;
  drawAll().then(
    () => {
      followWidth();
      followPrinter();
      isDark.addEventListener("change", () => void drawAll());
      root.dataset.charts = "drawn";
    },
    (error) => {
      root.dataset.charts = "failed";
      throw error;
    },
  );
})();
