/* Draws the charts of a page: stacked bars (or lines) from the table that each figure holds.
 *
 * A page loads it with {% include "console/charts.html" %} in its block `extrahead`, and writes
 *
 *   <figure class="tg-chart" data-format="usd" data-sync="usage">
 *     <figcaption>Charge by alias</figcaption>
 *     <details><summary>The numbers</summary><div class="tg-scroll">
 *     <table class="tg-table">
 *       <thead><tr><th scope="col">Day</th><th scope="col">smart</th><th scope="col" data-series="other">Other</th></tr></thead>
 *       <tbody><tr data-href="?from=2026-11-01"><th scope="row" data-label="1 Nov">2026-11-01</th>
 *         <td class="tg-number" data-value="1.25" data-href="?alias=smart&from=2026-11-01">$1.25</td><td …>…</td></tr></tbody>
 *     </table></div></details>
 *   </figure>
 *
 * The table is the chart: a column after the first is a series, a row is a bar. Without this script it stands
 * there by itself. Attributes, all optional:
 *   figure  data-kind     "bars" (the default, stacked) or "line"
 *           data-format   "usd", "integer" (the default), "percent" or "ms": how axis and tooltip write values
 *           data-sync     charts of one page with the same word show the same bar's tooltip together
 *           data-height   pixels, 220 by default
 *   th      data-series   the number (1 to 8) of the series' colour, so that it is the same in every chart, or
 *                         "other"; else by its place
 *           data-query    what a part of this series adds to the address of its bar (data-href of the row)
 *           data-skip     a column that is no series, such as a total
 *   th row  data-label    a shorter text for the axis
 *   td      data-value    the number; else the text, without thousands and signs
 *   td, tr  data-href     where a click on that part of the bar (or on the bar) leads: the filter in the address
 *
 * Colours are the CSS variables --tg-series-1 … -8, --tg-series-other and --tg-chart-line (console.css).
 */
"use strict";
{
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const charts = [];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const language = () => document.documentElement.lang || "en";

  const writers = {
    usd: (value, short) =>
      // Before the number in every language, as the rest of the page writes it.
      (value < 0 ? "\u2212$" : "$") +
      new Intl.NumberFormat(language(), {
        notation: short && Math.abs(value) >= 10000 ? "compact" : "standard",
        // What a first request costs is far less than a cent.
        ...(Math.abs(value) < 0.01 && { maximumSignificantDigits: 2 }),
        maximumFractionDigits: Math.abs(value) >= 100 ? (short ? 0 : 2) : short ? 2 : 4,
        minimumFractionDigits: 0,
      }).format(Math.abs(value)),
    integer: (value, short) =>
      new Intl.NumberFormat(language(), short ? { notation: "compact" } : {}).format(value),
    percent: (value) => `${new Intl.NumberFormat(language(), { maximumFractionDigits: 1 }).format(value)} %`,
    ms: (value) =>
      value >= 1000
        ? `${new Intl.NumberFormat(language(), { maximumFractionDigits: 1 }).format(value / 1000)} s`
        : `${Math.round(value)} ms`,
  };

  const number = (cell) => Number(cell.dataset.value ?? cell.textContent.replace(/[^0-9.-]/g, "")) || 0;

  const joined = (href, query) => (href && query ? `${href}&${query}` : href);

  /* Returns what a figure's table says: labels, series, and where each cell leads. */
  function read(figure) {
    const table = figure.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const columns = heads.map((head, at) => ({ head, at })).slice(1).filter(({ head }) => !("skip" in head.dataset));
    return {
      labels: rows.map((row) => row.cells[0].dataset.label ?? row.cells[0].textContent.trim()),
      titles: rows.map((row) => row.cells[0].textContent.trim()),
      series: columns.map(({ head, at }, place) => ({
        name: head.textContent.trim(),
        colour: `--tg-series-${head.dataset.series ?? (place % 8) + 1}`,
        values: rows.map((row) => number(row.cells[at])),
        links: rows.map((row) => row.cells[at].dataset.href ?? joined(row.dataset.href, head.dataset.query)),
      })),
    };
  }

  function dataset(series, kind) {
    const colour = css(series.colour);
    const shared = { label: series.name, data: series.values, links: series.links, variable: series.colour };
    if (kind === "line") {
      return { ...shared, borderColor: colour, backgroundColor: colour, borderWidth: 2, pointRadius: 0, tension: 0.2 };
    }
    return { ...shared, backgroundColor: colour, borderWidth: 0, maxBarThickness: 40, categoryPercentage: 0.9, barPercentage: 1 };
  }

  function options(figure, data) {
    const kind = figure.dataset.kind ?? "bars";
    const write = writers[figure.dataset.format] ?? writers.integer;
    const stacked = kind === "bars";
    const grid = css("--tg-chart-line");
    const text = css("--tg-chart-text");
    return {
      animation: still.matches ? false : { duration: 200 },
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      onClick: (event, _hit, chart) => follow(event, chart),
      onHover: (event, hit, chart) => point(event, hit, chart, figure.dataset.sync),
      scales: {
        x: { stacked, grid: { display: false }, border: { color: grid }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 16 } },
        y: {
          stacked,
          beginAtZero: true,
          grid: { color: grid },
          border: { display: false },
          ticks: { color: text, maxTicksLimit: 6, callback: (value) => write(value, true) },
        },
      },
      plugins: {
        legend: { display: data.series.length > 1, position: "bottom", labels: { color: text, boxWidth: 12, boxHeight: 12 } },
        tooltip: {
          itemSort: (a, b) => b.raw - a.raw,
          filter: (item) => item.raw !== 0,
          callbacks: {
            title: (items) => (items.length ? data.titles[items[0].dataIndex] : ""),
            label: (item) => ` ${item.dataset.label}: ${write(item.raw)}`,
          },
        },
      },
    };
  }

  /* Follows the link of the part that was clicked, or of its bar. */
  function follow(event, chart) {
    const part = chart.getElementsAtEventForMode(event, "nearest", { intersect: true }, false)[0];
    const bar = part ?? chart.getElementsAtEventForMode(event, "index", { intersect: false }, false)[0];
    const link = bar && chart.data.datasets[bar.datasetIndex].links[bar.index];
    if (link) {
      window.location.assign(link);
    }
  }

  /* Shows the same bar in every chart of the group. */
  function point(event, hit, chart, group) {
    const links = hit.length ? chart.data.datasets.some((each) => each.links[hit[0].index]) : false;
    chart.canvas.style.cursor = links ? "pointer" : "default";
    for (const other of charts) {
      if (!group || other.chart === chart || other.group !== group) {
        continue;
      }
      const index = hit.length ? hit[0].index : -1;
      const active = index < 0 ? [] : other.chart.data.datasets.map((_, datasetIndex) => ({ datasetIndex, index }));
      other.chart.setActiveElements(active);
      other.chart.tooltip.setActiveElements(active, { x: event.x, y: event.y });
      other.chart.update("none");
    }
  }

  function draw(figure) {
    const data = read(figure);
    if (!data.labels.length || !data.series.length) {
      return;
    }
    const place = document.createElement("div");
    place.className = "tg-chart__place";
    place.style.height = `${figure.dataset.height ?? 220}px`;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", figure.querySelector("figcaption")?.textContent.trim() ?? "");
    place.append(canvas);
    const caption = figure.querySelector("figcaption");
    caption ? caption.after(place) : figure.prepend(place);
    const kind = figure.dataset.kind ?? "bars";
    const chart = new Chart(canvas, {
      type: kind === "line" ? "line" : "bar",
      data: { labels: data.labels, datasets: data.series.map((series) => dataset(series, kind)) },
      options: options(figure, data),
    });
    canvas.addEventListener("mouseleave", () => point({ x: 0, y: 0 }, [], chart, figure.dataset.sync));
    charts.push({ chart, figure, data, group: figure.dataset.sync });
  }

  function recolour() {
    for (const { chart, figure, data } of charts) {
      for (const each of chart.data.datasets) {
        each.backgroundColor = each.borderColor = css(each.variable);
      }
      chart.options = options(figure, data);
      chart.update("none");
    }
  }

  window.addEventListener("DOMContentLoaded", () => {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    document.querySelectorAll("figure.tg-chart").forEach(draw);
    new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
  });
}
