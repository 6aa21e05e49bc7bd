internal import Foundation

/// The learning rate of every step: linear warm-up, then polynomial decay to zero.
public struct LearningRateSchedule: Sendable, Hashable, Codable {
    /// The rate at the end of the warm-up.
    public var base: Double
    public var warmUpSteps: Int
    public var totalSteps: Int
    public var power: Double

    public init(base: Double, warmUpSteps: Int, totalSteps: Int, power: Double = 2) {
        self.base = base
        self.warmUpSteps = warmUpSteps
        self.totalSteps = totalSteps
        self.power = power
    }

    /// Checks the fields.
    ///
    /// - Throws: `BackboneError` that names the field.
    public func validate() throws(BackboneError) {
        guard base.isFinite, base >= 0 else {
            throw BackboneError(.invalidConfiguration, "the learning rate \(base) is not a finite number from 0 up")
        }
        guard power.isFinite, power >= 0 else {
            throw BackboneError(
                .invalidConfiguration, "the power \(power) of the decay is not a finite number from 0 up")
        }
        guard warmUpSteps >= 0, totalSteps >= 1, warmUpSteps <= totalSteps else {
            throw BackboneError(
                .invalidConfiguration,
                "\(warmUpSteps) warm-up steps of \(totalSteps) steps: give 0 ≤ warm-up ≤ total, total ≥ 1")
        }
    }

    /// base·(step + 1)/warm-up while warming up, then base·(1 − (step − warm-up)/(total − warm-up))^power; 0 from `totalSteps` on.
    public func rate(at step: Int) -> Double {
        if step < warmUpSteps { return base * Double(step + 1) / Double(warmUpSteps) }
        if step >= totalSteps { return 0 }
        let left = 1 - Double(step - warmUpSteps) / Double(totalSteps - warmUpSteps)
        // Whole powers by multiplication: the C library's pow may differ in the last bit between instruction sets.
        guard power == power.rounded(), power <= 16 else { return base * pow(left, power) }
        var rate = base
        for _ in 0..<Int(power) { rate *= left }
        return rate
    }
}
