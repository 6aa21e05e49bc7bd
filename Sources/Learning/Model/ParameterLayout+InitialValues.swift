internal import Determinism
public import Tensors

extension ParameterLayout {
    /// Elements that share a generator: what a shard draws in vain at most at either end of its range.
    private static let chunk = 1024

    /// The starting values of `range` of the flat vector: f32 [range.count]. Those of an imported network are its own; else they are random.
    ///
    /// A value is a function of (seed, segment, element): any cut into ranges gives the same vector, on every CPU (the
    /// logarithm of the normal numbers is our own, because the C library picks its by instruction set).
    public func initialValues(in range: Range<Int>, seed: UInt64) -> Tensor {
        let tensor = Tensor(uninitialized: Float.self, shape: [range.count])
        let values = tensor.mutable(Float.self)
        if let importedValues {
            importedValues.withPointer(Float.self) { source in
                _ = values.initialize(from: source[range])
            }
            return tensor
        }
        for (segment, part) in parts(in: range) {
            let target = UnsafeMutableBufferPointer(
                rebasing: values[part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound])
            let elements = part.lowerBound - segment.range.lowerBound..<part.upperBound - segment.range.lowerBound
            switch segment.initializer {
            case .constant(let value): target.initialize(repeating: value)
            case .normal(let deviation):
                Self.fill(target, elements, segment.index, seed) { Float(normal(&$0)) * deviation }
            case .uniform(let bound):
                Self.fill(target, elements, segment.index, seed) { Float(2 * $0.unit() - 1) * bound }
            }
        }
        return tensor
    }

    private static func fill(
        _ target: UnsafeMutableBufferPointer<Float>, _ elements: Range<Int>, _ segment: Int, _ seed: UInt64,
        _ draw: (inout KeyedRandom) -> Float
    ) {
        var start = elements.lowerBound / chunk * chunk
        while start < elements.upperBound {
            var random = KeyedRandom(
                seed: seed, purpose: .backboneInitialization, UInt64(segment), UInt64(start / chunk))
            for element in start..<min(start + chunk, elements.upperBound) {
                let value = draw(&random)
                if element >= elements.lowerBound { target[element - elements.lowerBound] = value }
            }
            start += chunk
        }
    }
}

/// A standard normal number by Marsaglia's polar method (*A convenient method for generating normal variables*, 1964).
private func normal(_ random: inout KeyedRandom) -> Double {
    while true {
        let u = 2 * random.unit() - 1
        let v = 2 * random.unit() - 1
        let s = u * u + v * v
        if s < 1 && s > 0 { return u * (-2 * naturalLogarithm(s) / s).squareRoot() }
    }
}

/// ln x for positive normal x, from operations that IEEE 754 rounds the same everywhere.
func naturalLogarithm(_ x: Double) -> Double {
    var exponent = Double(x.exponent)
    var m = x.significand
    if m > 1.414_213_562_373_095 {
        m *= 0.5
        exponent += 1
    }
    // ln m = 2 artanh(s), s = (m − 1)/(m + 1), |s| < 0.172: eleven terms reach 1e-17.
    let s = (m - 1) / (m + 1)
    let square = s * s
    var sum = 0.0
    for odd in stride(from: 21, through: 1, by: -2) { sum = sum * square + 1 / Double(odd) }
    return exponent * 0.693_147_180_559_945_3 + 2 * s * sum
}
