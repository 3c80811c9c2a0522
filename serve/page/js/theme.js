// Before anything is painted, and so no module: the theme that was chosen here, else the system's, as it changes.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    document.documentElement.dataset.theme = chosen() ?? (system.matches ? "dark" : "light");
  };
  const again = () => {
    show();
    window.dispatchEvent(new Event("toprung:theme"));
  };

  function chosen() {
    try {
      const found = localStorage.getItem("toprung-theme");
      return found === "light" || found === "dark" ? found : null;
    } catch {
      return null; // storage is switched off
    }
  }

  show();
  system.addEventListener("change", again);
  window.addEventListener("storage", (event) => event.key === "toprung-theme" && again()); // chosen in another tab
})();
