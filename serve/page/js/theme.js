// Before anything is painted, and so no module: the theme that was chosen here, where one was.
(() => {
  try {
    const chosen = localStorage.getItem("toprung-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage is switched off: the system's theme it is
  }
})();
