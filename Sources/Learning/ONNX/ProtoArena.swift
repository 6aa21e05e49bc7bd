internal import COnnx

/// Owns the C structs of one message while protobuf-c packs it.
final class ProtoArena {
    private var blocks: [UnsafeMutableRawPointer] = []

    /// Calls `body` with an arena that lives as long.
    static func lend<Result>(_ body: (ProtoArena) throws -> Result) rethrows -> Result {
        let arena = ProtoArena()
        defer { withExtendedLifetime(arena) {} }
        return try body(arena)
    }

    private init() {}

    deinit { for block in blocks { block.deallocate() } }

    func make<M>(
        _ initialise: (UnsafeMutablePointer<M>?) -> Void, _ fill: (inout M) throws -> Void
    ) rethrows -> UnsafeMutablePointer<M> {
        let message: UnsafeMutablePointer<M> = allocate(1)
        initialise(message)
        try fill(&message.pointee)
        return message
    }

    func array<V>(_ values: [V]) -> UnsafeMutablePointer<V>? {
        guard !values.isEmpty else { return nil }
        let memory: UnsafeMutablePointer<V> = allocate(values.count)
        memory.initialize(from: values, count: values.count)
        return memory
    }

    func messages<M>(_ messages: [UnsafeMutablePointer<M>]) -> UnsafeMutablePointer<UnsafeMutablePointer<M>?>? {
        array(messages.map { $0 })
    }

    /// A C string; NUL, which would end it, is left out.
    func text(_ text: String) -> UnsafeMutablePointer<CChar> {
        let bytes = text.utf8.filter { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
        let memory: UnsafeMutablePointer<CChar> = allocate(bytes.count)
        memory.initialize(from: bytes, count: bytes.count)
        return memory
    }

    func texts(_ texts: [String]) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? {
        array(texts.map { text($0) })
    }

    private func allocate<V>(_ count: Int) -> UnsafeMutablePointer<V> {
        let memory = UnsafeMutablePointer<V>.allocate(capacity: count)
        blocks.append(UnsafeMutableRawPointer(memory))
        return memory
    }
}
