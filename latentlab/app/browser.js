() => {
    // Gradio reports a slider's new value only when the pointer is released, so releasing an arrow key does the same.
    // A drop-down opens its list at any key, also at Tab after it has lost the focus, so Tab does not reach it.
    document.addEventListener("keyup", event => {
        if (event.target.type === "range") event.target.dispatchEvent(new PointerEvent("pointerup", {bubbles: true}))
    })
    document.addEventListener("keydown", event => {
        if (event.key === "Tab" && event.target.role === "combobox") event.stopImmediatePropagation()
    }, true)

    // The address names the open page and, after a run, its settings; Back and Forward move between pages.
    const addresses = {}  // page -> the query of its last run
    const tab = key => document.querySelector(`[role=tab][data-tab-id="${CSS.escape(key)}"]`)
    const current = () => document.querySelector("[role=tab][aria-selected=true]")?.dataset.tabId
    const named = () => new URLSearchParams(location.search).get("page") || "generate"
    const withTheme = query => {
        const parameters = new URLSearchParams(query)
        const theme = new URLSearchParams(location.search).get("__theme")
        if (theme) parameters.set("__theme", theme)
        return `${location.pathname}?${parameters}`
    }
    const open = key => { if (key !== current()) tab(key)?.click() }

    addresses[named()] = location.search
    let target = null  // the page that Back or Forward is opening
    window.addEventListener("popstate", () => { target = named(); open(target) })
    new MutationObserver(() => {
        const key = current()
        const button = key && tab(key)
        if (button) button.parentElement.scrollLeft = button.offsetLeft - button.parentElement.clientWidth / 2
        if (key === target) target = null
        else if (key && key !== named()) history.pushState(null, "", withTheme(addresses[key] || `?page=${key}`))
    }).observe(document.body, {subtree: true, attributes: true, attributeFilter: ["aria-selected"]})

    const ran = link => {
        addresses[new URLSearchParams(link).get("page")] = link
        if (new URLSearchParams(link).get("page") === current()) history.replaceState(null, "", withTheme(link))
    }
    const copy = async text => {
        if (navigator.clipboard) return navigator.clipboard.writeText(text)
        const area = document.body.appendChild(Object.assign(document.createElement("textarea"), {value: text}))
        area.select()  // a page without https has no other way
        document.execCommand("copy")
        area.remove()
    }
    // On a phone the results stand above the controls, and a run would begin out of sight.
    document.addEventListener("click", event => {
        if (!event.target.closest("button[id^=run-], button[id^=new-seeds-]") || innerWidth > 640) return
        const shown = [...document.querySelectorAll(".status")].find(status => status.offsetParent)
        shown?.scrollIntoView({block: "start", behavior: "smooth"})
    })
    document.addEventListener("click", async event => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return
        const link = event.target.closest("a.copy-link, a[data-page]")
        if (!link) return
        event.preventDefault()
        if (link.dataset.page) return open(link.dataset.page)
        await copy(link.href)
        const text = link.textContent
        link.textContent = link.dataset.copied
        setTimeout(() => { link.textContent = text }, 2000)
    })
    window.latentlab = {ran, open}
}
