// Marks of charts say their values where the pointer is. Without this script the browser shows their titles.
(function () {
  var tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  // The tables say the same to those who listen.
  tip.setAttribute("aria-hidden", "true");
  document.body.appendChild(tip);
  Array.from(document.querySelectorAll("svg.chart :not(svg) > title")).forEach(function (title) {
    title.parentNode.setAttribute("data-value", title.textContent);
    title.remove();
  });
  function show(event) {
    var mark = event.target.closest ? event.target.closest("svg.chart [data-value]") : null;
    tip.hidden = !mark;
    if (!mark) { return; }
    tip.textContent = mark.getAttribute("data-value");
    var width = tip.offsetWidth, height = tip.offsetHeight, room = document.documentElement.clientWidth;
    var left = Math.max(4, Math.min(event.clientX + 12, room - width - 4));
    var above = event.clientY - height - 10;
    tip.style.left = left + "px";
    tip.style.top = (above > 4 ? above : event.clientY + 18) + "px";
  }
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", function () { tip.hidden = true; }, true);
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") { tip.hidden = true; } });
})();
