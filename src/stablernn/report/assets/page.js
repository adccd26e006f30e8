"use strict";
(() => {
  const dialog = document.getElementById("shown");

  // Every number and every figure leads to its runs, each with what its seeds and its group share.
  function show(numbers) {
    const asked = numbers.map((number) => document.getElementById(`r${number}`)).filter(Boolean);
    const ids = new Set(asked.map((each) => each.id));
    const runs = [...new Set(asked.map((each) => each.closest(".run")))];
    dialog.querySelector("h2").textContent = asked.length === 1 ? "The run behind this" : `The ${asked.length} runs behind this`;
    dialog.querySelector("div").replaceChildren(...runs.map((run) => {
      const copy = run.cloneNode(true);
      copy.removeAttribute("id");
      copy.open = runs.length === 1;
      for (const seed of copy.querySelectorAll("dt[id]")) {
        if (ids.has(seed.id)) {
          seed.removeAttribute("id");
        } else {
          seed.nextElementSibling.remove();
          seed.remove();
        }
      }
      for (let node = run.parentElement; node.matches(".cell, .runs"); node = node.parentElement) {
        copy.append(...[...node.querySelectorAll(":scope > dl")].map((part) => part.cloneNode(true)));
      }
      return copy;
    }));
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  document.addEventListener("click", (event) => {
    // The numbers of a row mostly have the same runs, which then stand with the row.
    const link = event.target.closest('a[href^="#r"]')?.closest("a[data-runs], tr[data-runs]");
    if (link) {
      event.preventDefault();
      show(link.dataset.runs.split(" ").flatMap((span) => {
        const [first, last = first] = span.split("-").map(Number);
        return Array.from({ length: last - first + 1 }, (_, n) => first + n);
      }));
    } else if (event.target === dialog) {
      dialog.close();
    }
  });

  // What an address names is open.
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) if (node.matches("details")) node.open = true;
    if (target) target.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  window.addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll(".claim, .chapter:not(#runs)")) folded.open = true;
  });
  reveal();
})();
