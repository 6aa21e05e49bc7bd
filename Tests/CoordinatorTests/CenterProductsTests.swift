import Coordinator
import Determinism
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CenterProductsTests {
    /// Every product is close to the exact one, and its bits do not depend on the rows beside it.
    @Test(arguments: [1, 15, 16, 17, 100]) func productsAreThoseOfPairs(width: Int) {
        var random = KeyedRandom(seed: 1, purpose: .test, UInt64(width))
        for (m, n) in [(1, 1), (2, 3), (5, 4), (7, 9), (130, 3)] {
            let a = (0..<m * width).map { _ in Float(random.unit() - 0.5) }
            let b = (0..<n * width).map { _ in Float(random.unit() - 0.5) }
            var products = [Float](repeating: .nan, count: m * n)
            CenterProducts.of(a, m, b, n, width: width, into: &products)
            for i in 0..<m {
                for j in 0..<n {
                    let exact = (0..<width).reduce(0.0) { $0 + Double(a[i * width + $1]) * Double(b[j * width + $1]) }
                    let query = Array(b[j * width..<(j + 1) * width])
                    let row = Tensor(Array(a[i * width..<(i + 1) * width]), shape: [1, width])
                    #expect(abs(Double(products[i * n + j]) - exact) < 1e-5)
                    #expect(CenterProducts.of(query, with: row) == [products[i * n + j]])
                }
            }
        }
    }
}
