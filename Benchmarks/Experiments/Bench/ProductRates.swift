internal import CKernels
internal import COneDNN
internal import COpenBLAS
import Determinism
import Foundation

/// Rates of matrix products in GFLOP/s, all threads together: each thread multiplies matrices of its own.
struct ProductRates {
    var sgemm = 0.0
    /// 0 where oneDNN cannot multiply bf16 matrices, as without AVX-512.
    var oneDNN = 0.0
    var kernel = 0.0

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    init(parallel: ParallelBlocks) {
        let threads = parallel.threads
        openblas_set_num_threads(1)
        sgemm = Self.best(
            [512, 1024, 2048].map { size in
                let (a, b, c) = (
                    Self.numbers(size * size), Self.numbers(size * size), Self.numbers(threads * size * size)
                )
                let calls = max(1, 2 << 30 / (size * size * size))
                return Self.rate(2 * size * size * size * calls, parallel) { thread in
                    for _ in 0..<calls {
                        cblas_sgemm(
                            CblasRowMajor, CblasNoTrans, CblasTrans, Int32(size), Int32(size), Int32(size), 1,
                            a.pointer,
                            Int32(size), b.pointer, Int32(size), 0, c.pointer + thread * size * size, Int32(size))
                    }
                }
            })
        oneDNN = Self.best(
            [512, 1024, 2048].compactMap { size in
                guard let products = try? (0..<threads).map({ _ in try OneDNNProduct(size: size) }) else { return nil }
                let calls = max(1, 2 << 30 / (size * size * size))
                let list = Shared(products)
                return Self.rate(2 * size * size * size * calls, parallel) { thread in
                    for _ in 0..<calls { list.value[thread].execute() }
                }
            })
        let (lanes, rows, size) = (32, 256, 512)
        let features = Self.numbers(size / 2 * lanes)
        let (weights, products) = (Self.numbers(threads * rows * size / 2), Self.numbers(threads * rows * lanes))
        kernel = Self.rate(2 * lanes * rows * size * 200, parallel) { thread in
            for _ in 0..<200 {
                pfc_bf16_products(
                    UnsafeRawPointer(features.pointer).assumingMemoryBound(to: UInt32.self), lanes,
                    UnsafeRawPointer(weights.pointer + thread * rows * size / 2).assumingMemoryBound(to: UInt16.self),
                    rows, size, products.pointer + thread * rows * lanes)
            }
        }
        withExtendedLifetime((features, weights, products)) {}
    }

    private static func best(_ rates: [Double]) -> Double { rates.max() ?? 0 }

    /// GFLOP/s of `operations` on every thread.
    private static func rate(
        _ operations: Int, _ parallel: ParallelBlocks, _ body: @Sendable (_ thread: Int) -> Void
    ) -> Double {
        let seconds = Experiments.medianSeconds(of: 5) {
            parallel.forEach(parallel.threads) { _, thread in body(thread) }
        }
        return Double(operations * parallel.threads) / seconds / 1e9
    }

    private static func numbers(_ count: Int) -> Numbers { Numbers(count: count) }
}

/// Numbers for kernels to read and write; not zeros, which some processors multiply faster.
private final class Numbers: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Float>

    init(count: Int) {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: 4 * count, alignment: 64)
        pointer = raw.bindMemory(to: Float.self, capacity: count)
        // The upper halves and the lower ones are bf16 numbers near 1.
        for index in 0..<count { pointer[index] = Float(bitPattern: 0x3F80_3F80 + UInt32(index % 64) * 0x10001) }
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }
}

/// A product of square bf16 matrices into single precision by oneDNN, weights in the layout that it likes best.
private final class OneDNNProduct: @unchecked Sendable {
    private var engine: dnnl_engine_t?
    private var stream: dnnl_stream_t?
    private var primitive: dnnl_primitive_t?
    private var arguments: [dnnl_exec_arg_t] = []

    init(size: Int) throws {
        omp_set_num_threads(1)
        try check(dnnl_engine_create(&engine, dnnl_cpu, 0))
        try check(dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue)))
        var dimensions = [Int64(size), Int64(size)]
        var (source, weights, target) = (dnnl_memory_desc_t(), dnnl_memory_desc_t(), dnnl_memory_desc_t())
        try check(dnnl_memory_desc_init_by_tag(&source, 2, &dimensions, dnnl_bf16, dnnl_ab))
        try check(dnnl_memory_desc_init_by_tag(&weights, 2, &dimensions, dnnl_bf16, dnnl_format_tag_any))
        try check(dnnl_memory_desc_init_by_tag(&target, 2, &dimensions, dnnl_f32, dnnl_ab))
        var operation = dnnl_matmul_desc_t()
        try check(dnnl_matmul_desc_init(&operation, &source, &weights, nil, &target))
        var description: dnnl_primitive_desc_t?
        try check(dnnl_primitive_desc_create(&description, &operation, nil, engine, nil))
        try check(dnnl_primitive_create(&primitive, description))
        for (kind, query) in [
            (DNNL_ARG_SRC, dnnl_query_src_md), (DNNL_ARG_WEIGHTS, dnnl_query_weights_md),
            (DNNL_ARG_DST, dnnl_query_dst_md),
        ] {
            let layout = dnnl_primitive_desc_query_md(description, query, 0)
            // Lives as long as the process, like its memory.
            let numbers = UnsafeMutableRawPointer.allocate(byteCount: dnnl_memory_desc_get_size(layout), alignment: 64)
            numbers.initializeMemory(as: UInt16.self, repeating: 0x3F81, count: dnnl_memory_desc_get_size(layout) / 2)
            var memory: dnnl_memory_t?
            try check(dnnl_memory_create(&memory, layout, engine, numbers))
            arguments.append(dnnl_exec_arg_t(arg: kind, memory: memory))
        }
        dnnl_primitive_desc_destroy(description)
    }

    func execute() {
        omp_set_num_threads(1)
        dnnl_primitive_execute(primitive, stream, Int32(arguments.count), arguments)
        dnnl_stream_wait(stream)
    }

    private func check(_ status: dnnl_status_t) throws {
        guard status == dnnl_success else {
            throw ProductRates.Failure(
                description: "oneDNN cannot multiply bf16 matrices here: status \(status.rawValue)")
        }
    }
}
