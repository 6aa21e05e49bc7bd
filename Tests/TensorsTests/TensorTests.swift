import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TensorTests {
    /// A tensor whose elements become -1 when its storage is let go.
    private func fragile(_ elements: [Int32]) -> Tensor {
        let memory = Tensor(elements)
        let storage = TensorStorage(foreign: memory.rawPointer, byteCount: memory.byteCount) {
            memory.mutable(Int32.self).update(repeating: -1)
        }
        return Tensor(dtype: .i32, shape: [elements.count], storage: storage)
    }

    @Test func copiesOutliveATemporary() {
        let elements = [Int32](0..<1000)
        #expect(fragile(elements).array(Int32.self) == elements)
        #expect(fragile(elements).rows(10..<20).reshaped([2, 5]).array(Int32.self) == Array(10..<20))
    }
}
