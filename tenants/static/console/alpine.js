/* What the theme's lists and forms say in their attributes, for Alpine's build that evaluates no text. */
"use strict";
document.addEventListener("alpine:init", () => {
  const Alpine = window.Alpine;

  // On the body of every page. The theme's form asks for `window.location`, which that build hides.
  Alpine.data("console", () => ({
    activeTab: "general",
    filterOpen: false,
    openModal: false,
    sidebarDesktopOpen: true,
    sidebarMobileOpen: false,
    moveRecords: (event) => moveRecords(event),
    sortRecords: (event) => sortRecords(event),
    window: { location: { pathname: window.location.pathname, search: window.location.search } },
    init() {
      this.activeTab = getCurrentTab() || this.$root.dataset.tab || "general";
    },
  }));
  Alpine.data("searchForm", searchForm);
});
