// Every table can be sorted by a column and saved as CSV.
(function () {
  // A cell's number in the base unit of its kind; the CSV names that unit in the head.
  var units = {
    ps: ["ns", 1e-3], ns: ["ns", 1], us: ["ns", 1e3], ms: ["ns", 1e6], s: ["ns", 1e9],
    B: ["B", 1], KiB: ["B", 1024], MiB: ["B", 1048576], GiB: ["B", 1073741824], TiB: ["B", 1099511627776],
    "%": ["%", 1]
  };
  function number(text) {
    var found = /^([<>]?)\s*([-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)\s*([A-Za-z%]*)$/.exec(text);
    var unit = found && (found[3] ? units[found[3]] : ["", 1]);
    return unit ? { value: parseFloat(found[2].replace(/,/g, "")) * unit[1], unit: unit[0], bound: found[1] } : null;
  }
  function text(cell) { return cell ? cell.textContent.trim() : ""; }
  function key(cell) {
    // What stands in brackets behind a number is not what the column is sorted by.
    var of = number(text(cell).replace(/\s*\(.*\)$/, ""));
    return of ? of.value : null;
  }

  function sort(table, column, numeric, head) {
    var was = head.getAttribute("aria-sort"), down = was ? was === "ascending" : numeric;
    var body = table.tBodies[0], rows = Array.from(body.rows).map(function (row) {
      var cell = row.cells[column];
      return { row: row, key: numeric ? key(cell) : text(cell) };
    });
    rows.sort(function (a, b) {
      // Cells without a number stay below whichever way it goes.
      if (a.key === null || b.key === null) { return (a.key === null) - (b.key === null); }
      var order = numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
      return down ? -order : order;
    });
    rows.forEach(function (of) { body.appendChild(of.row); });
    Array.from(table.tHead.rows[0].cells).forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  function quoted(value) { return /[",\r\n]/.test(value) ? "\"" + value.replace(/"/g, "\"\"") + "\"" : value; }
  function columns(table) {
    var rows = Array.from(table.tBodies[0].rows);
    return Array.from(table.tHead.rows[0].cells).map(function (head, at) {
      var cells = rows.map(function (row) { return text(row.cells[at]); });
      var values = cells.map(number), unit = "";
      var same = head.classList.contains("n") && values.every(function (of, n) {
        if (!of) { return cells[n] === "" || cells[n] === "–"; }
        if (of.bound || (unit && of.unit && of.unit !== unit)) { return false; }
        unit = unit || of.unit;
        return true;
      });
      if (!same) { return [text(head)].concat(cells); }
      var shown = values.map(function (of) { return of ? String(parseFloat(of.value.toPrecision(12))) : ""; });
      return [text(head) + (unit ? " (" + unit + ")" : "")].concat(shown);
    });
  }
  function csv(table) {
    var of = columns(table), lines = [];
    for (var row = 0; row < of[0].length; row++) {
      lines.push(of.map(function (column) { return quoted(column[row]); }).join(","));
    }
    return lines.join("\r\n") + "\r\n";
  }
  function download(table, name) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    link.download = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") + ".csv";
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }

  function sortable(table, head, column) {
    var handle = document.createElement("button");
    handle.type = "button";
    handle.className = "sort";
    while (head.firstChild) { handle.appendChild(head.firstChild); }
    head.appendChild(handle);
    handle.addEventListener("click", function () { sort(table, column, head.classList.contains("n"), head); });
  }
  Array.from(document.querySelectorAll("table")).forEach(function (table) {
    var name = text(table.caption), button = document.createElement("button"), box = table.closest(".scroll");
    button.type = "button";
    button.className = "csv";
    button.textContent = "CSV";
    button.title = "Download this table";
    button.setAttribute("aria-label", "Download as CSV: " + name);
    button.addEventListener("click", function () { download(table, name); });
    box.parentNode.insertBefore(button, box.nextSibling);
    if (table.tBodies[0].rows.length < 2) { return; }
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) { sortable(table, head, column); });
  });
})();
