internal import COneDNN
internal import Model

/// One compiled oneDNN operation: shared by all threads, since the scratch memory is the caller's.
final class Primitive: @unchecked Sendable {
    /// The layout that each argument must have.
    let layouts: [Int32: dnnl_memory_desc_t]
    /// Scratch memory one execution needs, in bytes.
    let scratchBytes: Int
    private let handle: dnnl_primitive_t
    private let engine: OneDNN.Engine

    /// Compiles `descriptor`, whose arguments have `layouts`.
    init(_ descriptor: PrimitiveDescriptor, _ layouts: [Int32: dnnl_memory_desc_t]) throws(BackboneError) {
        engine = try OneDNN.engine.get()
        var layouts = layouts
        let scratch = try descriptor.layout(dnnl_query_scratchpad_md)
        layouts[DNNL_ARG_SCRATCHPAD] = scratch
        self.layouts = layouts
        scratchBytes = withUnsafePointer(to: scratch) { dnnl_memory_desc_get_size($0) }
        var handle: dnnl_primitive_t?
        try OneDNN.check(dnnl_primitive_create(&handle, descriptor.handle), "compile an operation")
        self.handle = handle!
    }

    deinit { dnnl_primitive_destroy(handle) }

    /// Bytes of the argument in its layout.
    func bytes(of argument: Int32) -> Int {
        layouts[argument].map { layout in withUnsafePointer(to: layout) { dnnl_memory_desc_get_size($0) } } ?? 0
    }

    /// Whether the argument's layout is `other`.
    func layout(of argument: Int32, equals other: dnnl_memory_desc_t) -> Bool {
        guard let layout = layouts[argument] else { return false }
        return withUnsafePointer(to: layout) { a in
            withUnsafePointer(to: other) { b in dnnl_memory_desc_equal(a, b) != 0 }
        }
    }

    /// Runs on the calling thread, which `thread` belongs to.
    func run(on thread: KernelThread, _ arguments: KeyValuePairs<Int32, UnsafeMutableRawPointer>) throws(BackboneError)
    {
        var list: [dnnl_exec_arg_t] = []
        list.reserveCapacity(arguments.count + 1)
        defer { for item in list { dnnl_memory_destroy(item.memory) } }
        func append(_ argument: Int32, _ pointer: UnsafeMutableRawPointer) throws(BackboneError) {
            guard var layout = layouts[argument] else { return }
            var memory: dnnl_memory_t?
            try OneDNN.check(dnnl_memory_create(&memory, &layout, engine.handle, pointer), "wrap memory")
            list.append(dnnl_exec_arg_t(arg: argument, memory: memory))
        }
        for (argument, pointer) in arguments { try append(argument, pointer) }
        if scratchBytes > 0 { try append(DNNL_ARG_SCRATCHPAD, thread.scratch(scratchBytes)) }
        try OneDNN.check(dnnl_primitive_execute(handle, thread.stream, Int32(list.count), list), "run an operation")
        try OneDNN.check(dnnl_stream_wait(thread.stream), "wait for an operation")
    }

    /// A conversion between two layouts of the same tensor.
    static func reorder(
        from source: dnnl_memory_desc_t, to target: dnnl_memory_desc_t
    ) throws(BackboneError) -> Primitive {
        let engine = try OneDNN.engine.get()
        var handle: dnnl_primitive_desc_t?
        var (a, b) = (source, target)
        try OneDNN.check(
            dnnl_reorder_primitive_desc_create(&handle, &a, engine.handle, &b, engine.handle, engine.attributes),
            "plan a change of layout")
        return try Primitive(
            PrimitiveDescriptor(handle!), [DNNL_ARG_SRC: source, DNNL_ARG_DST: target])
    }
}

/// An operation that oneDNN has chosen an implementation for.
final class PrimitiveDescriptor {
    let handle: dnnl_primitive_desc_t

    init(_ handle: dnnl_primitive_desc_t) { self.handle = handle }

    /// Chooses the implementation of the operation that `operation` describes (a `dnnl_…_desc_t`).
    init(_ operation: UnsafeRawPointer, hint: PrimitiveDescriptor?, _ what: String) throws(BackboneError) {
        let engine = try OneDNN.engine.get()
        var handle: dnnl_primitive_desc_t?
        try OneDNN.check(
            dnnl_primitive_desc_create(&handle, operation, engine.attributes, engine.handle, hint?.handle),
            "plan \(what)")
        self.handle = handle!
    }

    deinit { dnnl_primitive_desc_destroy(handle) }

    /// The layout of an argument, as chosen; `index` counts arguments of the same kind (weights, bias).
    func layout(_ query: dnnl_query_t, _ index: Int32 = 0) throws(BackboneError) -> dnnl_memory_desc_t {
        guard let layout = dnnl_primitive_desc_query_md(handle, query, index) else {
            throw BackboneError(.oneDNN, "oneDNN does not say how memory \(query.rawValue) is laid out")
        }
        return layout.pointee
    }
}
