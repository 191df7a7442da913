// The filter box above a table: rows that do not hold all its words are hidden.
document.querySelectorAll("input[data-filter]").forEach(function (box) {
  var rows = document.querySelectorAll("#" + box.dataset.filter + " tbody tr");
  box.addEventListener("input", function () {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      row.hidden = !words.every(function (word) { return text.includes(word); });
    });
  });
});
