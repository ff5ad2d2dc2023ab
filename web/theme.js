// Before anything is painted: the colours that this browser was told to use. No module, so that it is not deferred.
(function () {
    try {
        const theme = localStorage.getItem("igwd.theme");
        if (theme === "light" || theme === "dark")
            document.documentElement.dataset.theme = theme;
    } catch {
        // No storage: the system's colours.
    }
})();
