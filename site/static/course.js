// What is too wide for its place scrolls by itself; only then a keyboard must be able to reach it.
const watch = new ResizeObserver(entries => {
    for (const {target} of entries) {
        if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
        else target.removeAttribute("tabindex");
    }
});
document.querySelectorAll("pre, .text_html, .table-wrapper, .math-wrapper").forEach(part => watch.observe(part));

// The widgets of a lesson: alive in the page, without Python.
if (document.querySelector("div.cell")) import(new URL("../live/mount.js", document.currentScript.src));
