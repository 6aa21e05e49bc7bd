/// A binary heap of what happens when, in order of time, then of insertion.
struct EventQueue<Element> {
    private struct Entry {
        let time: Int64
        let sequence: Int
        let element: Element
    }

    private var entries: [Entry] = []
    private var sequence = 0

    var count: Int { entries.count }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
        (entries[a].time, entries[a].sequence) < (entries[b].time, entries[b].sequence)
    }

    mutating func insert(_ element: Element, at time: Int64) {
        sequence += 1
        entries.append(Entry(time: time, sequence: sequence, element: element))
        var child = entries.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popFirst() -> (time: Int64, element: Element)? {
        guard let first = entries.first else { return nil }
        let last = entries.removeLast()
        if entries.isEmpty { return (first.time, first.element) }
        entries[0] = last
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count && isBefore(child, smallest) {
                smallest = child
            }
            if smallest == parent { break }
            entries.swapAt(parent, smallest)
            parent = smallest
        }
        return (first.time, first.element)
    }
}
