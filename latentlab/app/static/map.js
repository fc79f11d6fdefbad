// The map: the cells of an atlas at their places, which deck.gl draws, pans, zooms and picks.
import {Deck, IconLayer, LineLayer, OrthographicView} from "./deck.min.js"

const WIDTH = 1600, HEIGHT = 1000  // of the map, in deck.gl's units
const RESULTS = 24  // results of a search that are listed
const PALETTE = ["#4f46e5", "#ea580c", "#16a34a", "#dc2626", "#0891b2", "#c026d3", "#ca8a04", "#475569", "#65a30d", "#db2777"]
const SQUARE = "data:image/svg+xml," + encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" rx="10" fill="white"/></svg>')
const SIZES = {sizeUnits: "common", sizeMinPixels: 8, sizeMaxPixels: 80}
const rgb = hex => [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16))
const place = ([x, y]) => [x * WIDTH, (1 - y) * HEIGHT]
const unplace = ([x, y]) => [x / WIDTH, 1 - y / HEIGHT].map(v => Math.min(1, Math.max(0, v)))

export function createMap(root, trigger) {
    const part = name => root.querySelector(`[data-part=${name}]`)
    const state = {data: null, own: [], chosen: [], dots: [], decoded: [], loaded: false, matches: null, colour: "", line: null, drawing: false}
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches

    const deck = new Deck({
        parent: part("canvas"),
        views: new OrthographicView({flipY: true}),
        initialViewState: overview(),
        controller: true,
        onLoad: () => { state.loaded = true; ready() },
        getCursor: ({isDragging}) => state.drawing ? "crosshair" : isDragging ? "grabbing" : "pointer",
        getTooltip: ({object}) => object?.caption && {text: object.caption, style: {fontSize: "13px", zIndex: 50}},
        onDragStart: ({coordinate}) => { if (state.drawing) state.line = [coordinate, coordinate] },
        onDrag: ({coordinate}) => {
            if (!state.line || !coordinate) return
            state.line = [state.line[0], coordinate]
            draw()
        },
        onDragEnd: () => {
            if (!state.line) return
            decode(state.line.map(unplace))
            setDrawing(false)
        },
    })

    // The browser's own click: deck.gl's is lost where its first search for the object below the pointer takes too long.
    let down = [0, 0]
    part("canvas").addEventListener("pointerdown", event => { down = [event.clientX, event.clientY] }, true)
    part("canvas").addEventListener("click", event => {
        const moved = Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 6
        if (moved || state.drawing || !root.dataset.ready) return
        const {left, top} = part("canvas").getBoundingClientRect()
        const [x, y] = [event.clientX - left, event.clientY - top]
        const row = deck.pickObject({x, y})?.object?.row
        if (row !== undefined) trigger("select", {row})
        else decode([unplace(deck.getViewports()[0].unproject([x, y]))])
    })

    function overview() {
        const {clientWidth, clientHeight} = part("canvas")
        const scale = Math.min(clientWidth / WIDTH, clientHeight / HEIGHT) / 1.06
        return {target: [WIDTH / 2, HEIGHT / 2, 0], zoom: Math.log2(scale), minZoom: -3, maxZoom: 6}
    }

    // The point of the whole map that is drawn at a pixel of the canvas.
    function seen([x, y]) {
        const {clientWidth, clientHeight} = part("canvas")
        const scale = 2 ** overview().zoom
        return [WIDTH / 2 + (x - clientWidth / 2) / scale, HEIGHT / 2 + (y - clientHeight / 2) / scale]
    }

    function flyTo(points) {
        const xs = points.map(p => p[0]), ys = points.map(p => p[1])
        const middle = values => (Math.min(...values) + Math.max(...values)) / 2
        const extent = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys), 60)
        const zoom = Math.log2(Math.min(part("canvas").clientWidth, part("canvas").clientHeight) / (extent * 1.4))
        const target = [middle(xs), middle(ys), 0]
        deck.setProps({initialViewState: {...overview(), target, zoom, transitionDuration: still ? 0 : 600}})
    }

    function decode(places) {
        Object.assign(state, {dots: places, decoded: []})
        draw()
        tell(`Decoding ${places.length > 1 ? "a line" : "the place"} at ${places.map(p => p.map(v => v.toFixed(2)).join(", ")).join(" to ")} …`)
        trigger("submit", {places})
    }

    // What the page says and shows below the map, on the map itself, so that a click is answered where it was made.
    function tell(text, pictures = []) {
        const [paragraph, images] = part("card").children
        if (paragraph.textContent !== text) paragraph.textContent = text
        if (pictures.join() === [...images.children].map(image => image.src).join()) return
        images.replaceChildren(...pictures.map(src => Object.assign(new Image(), {src, alt: ""})))
    }

    function mirror(results) {
        const bar = [...results.querySelectorAll(".bar")].find(bar => bar.checkVisibility())
        const running = bar?.querySelector("progress") || bar?.matches(".wrong") || bar?.closest(".cancelled")
        const unfinished = running ? "[alt^=unfinished]" : ""
        const pictures = [...results.querySelectorAll(`.outputs .thumbnail-item img${unfinished}`)].map(image => image.src)
        if (bar) tell([...bar.childNodes].map(node => node.textContent).join(" "), pictures)
    }
    // The map answers clicks from now on, and decodes one that came before.
    function ready() {
        if (!state.data || !state.loaded || root.dataset.ready) return
        if (results) mirror(results)
        root.dataset.ready = state.data.captions.length
        if (root.early) decode([unplace(seen(root.early))])
    }

    const results = document.querySelector(".page-map")
    if (results) new MutationObserver(() => mirror(results)).observe(results, {subtree: true, childList: true, characterData: true, attributes: true})

    function setDrawing(drawing) {
        Object.assign(state, {drawing, line: drawing ? state.line : null})
        part("line").setAttribute("aria-pressed", String(drawing))
        deck.setProps({controller: drawing ? {dragPan: false, scrollZoom: true} : true})
        draw()
    }

    function categories() {
        const values = state.data.attributes[state.colour] || []
        const counts = new Map()
        for (const value of values) counts.set(value, (counts.get(value) || 0) + 1)
        const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a))
        const named = state.data.colours[state.colour] || {}
        return new Map(names.map((name, k) => [name, named[name] || PALETTE[k] || "#9ca3af"]))
    }

    function draw() {
        if (!state.data) return
        const {points, columns, cell, atlas, attributes} = state.data
        const icons = Object.fromEntries(points.map(({row}) => [row, {
            x: row % columns * cell, y: Math.floor(row / columns) * cell, width: cell, height: cell,
        }]))
        const shown = row => !state.matches || state.matches.has(row)
        const colours = state.colour ? categories() : new Map()
        const frame = {id: "frame", iconAtlas: SQUARE, iconMapping: {s: {x: 0, y: 0, width: 64, height: 64, mask: true}}, getIcon: () => "s"}
        const chosen = points.filter(p => state.chosen.includes(p.row))
        const dots = state.dots.map(place)
        const pictures = {getPosition: p => p.position, ...SIZES, pickable: true}
        deck.setProps({layers: [
            state.colour && new IconLayer({...frame, ...SIZES, id: "colours", data: points, getPosition: p => p.position, getSize: 26,
                sizeMinPixels: 11, sizeMaxPixels: 96, updateTriggers: {getColor: [state.colour, state.matches]},
                getColor: p => [...rgb(colours.get(attributes[state.colour][p.row])), shown(p.row) ? 255 : 20]}),
            new IconLayer({...frame, ...SIZES, id: "chosen", data: chosen, getPosition: p => p.position, getSize: 30, sizeMinPixels: 16,
                sizeMaxPixels: 100, getColor: [79, 70, 229]}),
            new IconLayer({...pictures, id: "pictures", data: points, iconAtlas: atlas, iconMapping: icons, getIcon: p => p.row, getSize: 20,
                getColor: p => [255, 255, 255, shown(p.row) ? 255 : 28], updateTriggers: {getColor: [state.matches]}}),
            new IconLayer({...frame, ...SIZES, id: "own frames", data: [...state.own, ...state.decoded], getPosition: p => p.position, getSize: 46,
                sizeMinPixels: 30, sizeMaxPixels: 110, getColor: [217, 119, 6]}),
            new IconLayer({...pictures, id: "own", data: [...state.own, ...state.decoded], getSize: 40, sizeMinPixels: 26, sizeMaxPixels: 98,
                getIcon: p => ({url: p.url, width: 64, height: 64, id: p.url})}),
            new LineLayer({id: "line", data: state.line ? [state.line] : dots.length > 1 ? [[dots[0], dots.at(-1)]] : [],
                getSourcePosition: l => l[0], getTargetPosition: l => l[1], getColor: [217, 119, 6], getWidth: 3}),
            new IconLayer({...frame, id: "dots", data: dots, getPosition: d => d, sizeUnits: "pixels", getSize: 12, getColor: [217, 119, 6]}),
        ]})
    }

    function legend() {
        const entries = [...categories()].filter(([, colour]) => colour !== "#9ca3af")
        part("legend").replaceChildren(...entries.map(([name, colour]) => {
            const item = Object.assign(document.createElement("span"), {textContent: name})
            item.style.setProperty("--swatch", colour)
            return item
        }))
    }

    function search(query) {
        const words = query.toLowerCase().split(/\s+/).filter(Boolean)
        const found = words.length ? state.data.points.filter(p => words.every(w => ` ${p.caption.toLowerCase()}`.includes(` ${w}`))) : []
        state.matches = words.length ? new Set(found.map(p => p.row)) : null
        part("count").textContent = words.length ? `${found.length} of ${state.data.points.length} pictures` : `${state.data.points.length} pictures`
        part("results").replaceChildren(...found.slice(0, RESULTS).map(result))
        draw()
        return found
    }

    function result(point) {
        const {atlas, columns, cell} = state.data
        const button = Object.assign(document.createElement("button"), {type: "button", title: point.caption})
        button.setAttribute("aria-label", point.caption)
        const [x, y] = [point.row % columns, Math.floor(point.row / columns)]
        button.style.background = `url("${atlas}") ${-x * cell / 1.6}px ${-y * cell / 1.6}px / ${columns * cell / 1.6}px`
        button.addEventListener("click", () => { trigger("select", {row: point.row}); flyTo([point.position]) })
        return button
    }

    part("search").addEventListener("input", event => search(event.target.value))
    part("search").addEventListener("keydown", event => {
        if (event.key !== "Enter") return
        const found = search(event.target.value)
        if (found.length) flyTo(found.map(p => p.position))
    })
    part("colour").addEventListener("change", event => { state.colour = event.target.value; legend(); draw() })
    part("line").addEventListener("click", () => setDrawing(!state.drawing))
    // deck.gl ignores a view that equals the last one that it was given, also after the visitor has moved the map.
    let asked = 0
    part("whole").addEventListener("click", () => deck.setProps({initialViewState: {...overview(), asked: ++asked}}))
    let width = part("canvas").clientWidth
    new ResizeObserver(() => {
        if (part("canvas").clientWidth === width || !part("canvas").clientWidth) return
        width = part("canvas").clientWidth
        deck.setProps({initialViewState: overview()})
    }).observe(part("canvas"))

    return {
        setData(data) {
            const points = data.captions.map((caption, row) => ({row, caption, position: place(data.xy[row])}))
            state.data = {...data, points}
            const options = ["", ...Object.keys(data.attributes)].map(name => new Option(name || "nothing", name))
            part("colour").replaceChildren(...options)
            part("colour").closest("label").hidden = options.length < 2
            deck.setProps({initialViewState: overview()})
            search(part("search").value)
            ready()
        },
        setOwn(own) {
            state.own = own.map((o, k) => ({...o, row: state.data.points.length + k, position: place(o.xy)}))
            draw()
        },
        setChosen(rows) {
            state.chosen = rows
            root.dataset.chosen = rows.join(" ")
            draw()
        },
        setDecoded(decoded) {
            Object.assign(state, {dots: [], decoded: decoded.map(d => ({...d, position: place(d.xy)}))})
            draw()
        },
    }
}
