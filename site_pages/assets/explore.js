// Each <figure data-chart> shows a still picture first; it is replaced by the chart of that name once Vega has drawn it.
document.querySelectorAll("figure[data-chart]").forEach(function (figure) {
  var place = document.createElement("div");
  place.className = "vega";
  figure.appendChild(place);
  window.vegaEmbed(place, window.charts[figure.dataset.chart], { renderer: "svg", actions: false })
    .then(function (result) {
      figure.querySelectorAll("img").forEach(function (still) { still.style.display = "none"; });
      figure.dataset.state = "drawn";
      figure.view = result.view;
    });
});
