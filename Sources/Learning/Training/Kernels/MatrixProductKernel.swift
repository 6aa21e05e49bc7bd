internal import COneDNN
internal import Model

/// Products of matrices [batch, M, K] · [batch, K, N] by oneDNN.
struct MatrixProductKernel: TrainingKernel {
    private let product: Primitive
    /// ∂a = ∂y·bᵀ and ∂b = aᵀ·∂y.
    private let gradients: (a: Primitive, b: Primitive)

    init(batch: Int, m: Int, k: Int, n: Int) throws(BackboneError) {
        product = try Self.compile(
            batch, Matrix(m, k), Matrix(k, n), Matrix(m, n))
        gradients = (
            try Self.compile(batch, Matrix(m, n), Matrix(k, n).transposed, Matrix(m, k)),
            try Self.compile(batch, Matrix(m, k).transposed, Matrix(m, n), Matrix(k, n))
        )
    }

    func forward(_ pass: KernelPass, _ inputs: [Floats], _ output: Floats) throws(BackboneError) {
        try run(product, pass, inputs[0], inputs[1], output)
    }

    func backward(
        _ pass: KernelPass, _ values: KernelValues, _ gradients: KernelGradients
    ) throws(BackboneError) {
        guard let a = values.inputs[0], let b = values.inputs[1] else { return }
        if let da = gradients.inputs[0] { try run(self.gradients.a, pass, gradients.output, b, da) }
        if let db = gradients.inputs[1] { try run(self.gradients.b, pass, a, gradients.output, db) }
    }

    private func run(
        _ primitive: Primitive, _ pass: KernelPass, _ a: Floats, _ b: Floats, _ y: Floats
    ) throws(BackboneError) {
        try primitive.run(
            on: pass.thread,
            [
                DNNL_ARG_SRC: UnsafeMutableRawPointer(a), DNNL_ARG_WEIGHTS: UnsafeMutableRawPointer(b),
                DNNL_ARG_DST: UnsafeMutableRawPointer(y),
            ])
    }

    /// A matrix of each sample, dense and row-major, or one read the other way round.
    private struct Matrix {
        let rows: Int
        let columns: Int
        var isTransposed = false

        init(_ rows: Int, _ columns: Int) {
            self.rows = rows
            self.columns = columns
        }

        var transposed: Matrix {
            var result = Matrix(columns, rows)
            result.isTransposed = true
            return result
        }

        func layout(_ batch: Int) throws(BackboneError) -> dnnl_memory_desc_t {
            try OneDNN.memory([batch, rows, columns], isTransposed ? dnnl_acb : dnnl_abc)
        }
    }

    private static func compile(
        _ batch: Int, _ a: Matrix, _ b: Matrix, _ y: Matrix
    ) throws(BackboneError) -> Primitive {
        var (source, weights, target) = (try a.layout(batch), try b.layout(batch), try y.layout(batch))
        var operation = dnnl_matmul_desc_t()
        let what = "a product of matrices \(a.rows)×\(a.columns) and \(b.rows)×\(b.columns)"
        try OneDNN.check(dnnl_matmul_desc_init(&operation, &source, &weights, nil, &target), "describe \(what)")
        return try Primitive(
            PrimitiveDescriptor(&operation, hint: nil, what),
            [DNNL_ARG_SRC: source, DNNL_ARG_WEIGHTS: weights, DNNL_ARG_DST: target])
    }
}
