// Paper is light, in the dark theme too.
"use strict";

const theme = document.documentElement.dataset;
let onScreen;
matchMedia("print").addEventListener("change", ({ matches }) => {
  if (matches) onScreen = theme.theme;
  theme.theme = matches ? "light" : onScreen;
});
