public import ParameterStore
public import Tensors

/// The planes of SGD by name: values, and momentum beside them.
extension TableFormat {
    public init(rows: NumberFormat = .f32, momentum: NumberFormat) {
        self.init(rows: rows, state: [Plane("momentum", momentum)])
    }

    public var momentum: NumberFormat {
        get { state[0].format }
        set { state[0].format = newValue }
    }
}

extension [Tensor] {
    public var rows: Tensor { self[0] }
    public var momentum: Tensor { self[1] }
}

extension [Int] {
    public var rows: Int { self[0] }
    public var momentum: Int { self[1] }
}

extension [Range<Int>] {
    public var rows: Range<Int> { self[0] }
    public var momentum: Range<Int> { self[1] }
}
