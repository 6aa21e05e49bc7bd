internal import CKernels

/// The margins of the target logit: t = cos(m1·θ + m2) − m3, θ the angle between a feature and its class center.
public struct HeadMargins: Sendable, Hashable, Codable {
    /// Factor of the angle.
    public var m1: Double
    /// Added to the angle, in radians.
    public var m2: Double
    /// Taken off the cosine.
    public var m3: Double

    public init(m1: Double, m2: Double, m3: Double) {
        self.m1 = m1
        self.m2 = m2
        self.m3 = m3
    }

    /// What is wrong with the values; nil if they are possible.
    package var problem: String? {
        if !(0.01...100).contains(m1) { return "margin m1 is \(m1); it must be in 0.01...100" }
        if !(-100...100).contains(m2) { return "margin m2 is \(m2); it must be in -100...100 radians" }
        return (-100...100).contains(m3) ? nil : "margin m3 is \(m3); it must be in -100...100"
    }

    /// Additive angular margin (ArcFace, Deng et al. 2019, eq. 3).
    public static func arcFace(_ margin: Double = 0.5) -> HeadMargins { HeadMargins(m1: 1, m2: margin, m3: 0) }
    /// Additive cosine margin (CosFace, Wang et al. 2018, eq. 4).
    public static func cosFace(_ margin: Double = 0.4) -> HeadMargins { HeadMargins(m1: 1, m2: 0, m3: margin) }
    /// Multiplicative angular margin (SphereFace, Liu et al. 2017), with the formula as it is beyond m1·θ = π.
    public static func sphereFace(_ margin: Double = 1.35) -> HeadMargins { HeadMargins(m1: margin, m2: 0, m3: 0) }
    /// Normalised softmax without a margin.
    public static var plain: HeadMargins { HeadMargins(m1: 1, m2: 0, m3: 0) }

    /// t and dt/dcos at a cosine (clamped to [−1, 1]), in double precision.
    ///
    /// The derivative m1·sin(m1·θ + m2)/sin θ grows without bound towards θ = 0 and π; it is held at what it is 1e-6 away
    /// from them.
    public func value(atCosine cosine: Double) -> (t: Double, derivative: Double) {
        var margin = pfc_head_margin(scale: 1, m1: m1, m2: m2, m3: m3, filter: .infinity)
        var result = (t: 0.0, derivative: 0.0)
        pfc_head_margin_at(&margin, cosine, &result.t, &result.derivative)
        return result
    }
}
