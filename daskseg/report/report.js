(function () {
  "use strict";
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");

  function colours() {
    const style = getComputedStyle(document.documentElement);
    return { ink: style.getPropertyValue("--ink").trim(), rule: style.getPropertyValue("--rule").trim() };
  }

  function paint(models) {
    const { ink, rule } = colours();
    for (const model of models) {
      if (model.tags.includes("ink")) model.text_color = { value: ink };
      if (model.tags.includes("axis")) model.major_label_text_color = ink;
      if (model.tags.includes("grid")) model.grid_line_color = rule;
    }
  }

  const data = JSON.parse(document.getElementById("figures").textContent);
  Bokeh.set_log_level("error");
  Bokeh.embed.embed_items({ report: data.document }, [
    { docid: "report", roots: data.roots, root_ids: Object.keys(data.roots) },
  ]).then(function () {
    const models = [...Bokeh.documents[Bokeh.documents.length - 1].all_models];
    paint(models);
    scheme.addEventListener("change", function () { paint(models); });
    window.addEventListener("beforeprint", function () { paint(models); });
    window.addEventListener("afterprint", function () { paint(models); });
    document.documentElement.dataset.drawn = "yes";
  });
})();
