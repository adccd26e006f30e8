"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = read("config");
  const curves = read("curves");
  const panels = read("panels");
  const dialog = document.getElementById("shown");

  // Every number and every point leads to its runs.
  function show(ids) {
    const body = dialog.querySelector("div");
    const runs = ids.map((id) => document.getElementById(`run-${id}`)).filter(Boolean);
    dialog.querySelector("h2").textContent = runs.length === 1 ? "The run behind this" : `The ${runs.length} runs behind this`;
    body.replaceChildren(...runs.map((run) => {
      const copy = run.cloneNode(true);
      copy.removeAttribute("id");
      copy.open = runs.length === 1;
      return copy;
    }));
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-runs]");
    if (link) {
      event.preventDefault();
      show(link.dataset.runs.split(" "));
    } else if (event.target === dialog) {
      dialog.close();
    }
  });

  // One legend for all panels of a figure: a click takes a curve away or brings it back.
  function legend(figure, name, views) {
    const hidden = new Set();
    figure.querySelector(".legend").replaceChildren(...curves[name].map(({ label, markup, colour, dash }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.innerHTML = `<svg viewBox="0 0 26 8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke="var(--${colour})" stroke-width="2" stroke-dasharray="${dash[1] ? dash.join(" ") : "none"}"/></svg><span>${markup}</span>`;
      button.addEventListener("click", () => {
        const off = !hidden.delete(label);
        if (off) hidden.add(label);
        button.setAttribute("aria-pressed", String(!off));
        for (const view of views) view.signal("hidden", [...hidden]).runAsync();
      });
      return button;
    }));
  }

  // Points come packed: what a line's points share is there once.
  const unpacked = (groups) => groups.flatMap(({ columns, ...shared }) => columns.x.map((_, at) => {
    const own = Object.entries(columns).map(([name, values]) => [name, values[at]]);
    return { ...shared, ...Object.fromEntries(own) };
  }));

  async function draw(figure) {
    const name = figure.dataset.name;
    const views = [];
    legend(figure, name, views);
    const plots = figure.querySelectorAll(".plot");
    for (const [at, { spec, points }] of panels[name].entries()) {
      const specification = { ...spec, datasets: { points: unpacked(points) } };
      const options = { config, actions: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };
      try {
        const { view } = await vegaEmbed(plots[at], specification, options);
        view.addEventListener("click", (_, item) => {
          const runs = item && item.datum && (item.datum.runs || (item.datum.datum || {}).runs);
          if (runs) show(runs.split(" "));
        });
        views.push(view);
      } catch (error) {
        plots[at].classList.add("failed");
        plots[at].textContent = `This figure could not be drawn: ${error.message}`;
        console.error(error);
      }
    }
  }

  (async () => {
    for (const figure of document.querySelectorAll("figure[data-name]")) await draw(figure);
    document.documentElement.dataset.drawn = "true";
  })();
})();
