"use strict";
for (const box of document.querySelectorAll(".copy")) {
  const button = box.querySelector("button");
  button.addEventListener("click", async () => {
    const text = box.querySelector("pre").innerText;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      button.textContent = document.execCommand("copy") ? "Copied" : "Select and copy";
      area.remove();
    }
  });
}
const table = document.querySelector("table.bundles");
if (table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const form = document.querySelector("form.filters");
  const said = document.querySelector("#count");
  const show = () => {
    const words = form.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const picked = [...form.querySelectorAll("select")].filter((one) => one.value);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word)) &&
        picked.every((one) => row.dataset[one.name].split(" ").includes(one.value));
      row.hidden = !fits;
      count += fits;
    }
    said.textContent = `${count} of ${rows.length}`;
  };
  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const head of table.tHead.querySelectorAll("th")) {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const one of table.tHead.querySelectorAll("th")) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const column = head.cellIndex;
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const number = head.classList.contains("n");
      const sign = down ? -1 : 1;
      rows.sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        return sign * (number ? Number(a) - Number(b) : a.localeCompare(b));
      });
      body.append(...rows);
    });
  }
  show();
}
