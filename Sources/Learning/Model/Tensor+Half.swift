internal import ParameterStore
public import Tensors

extension Tensor {
    /// Numbers f32 as bf16, of the same shape: rounded to nearest, which changes nothing of what is a bf16 already.
    public var narrowed: Tensor {
        let result = Tensor(uninitialized: UInt16.self, shape: shape)
        NumberFormat.bf16.encode(pointer(Float.self), count: 1, width: count, to: result.rawPointer)
        withExtendedLifetime(self) {}
        return result
    }

    /// Numbers bf16 as f32, of the same shape; numbers f32 as they are, sharing memory.
    public var widened: Tensor {
        guard dtype == .bf16 else { return self }
        let result = Tensor(uninitialized: Float.self, shape: shape)
        NumberFormat.bf16.decode(rawPointer, count: 1, width: count, to: result.pointer(Float.self))
        withExtendedLifetime(self) {}
        return result
    }
}
