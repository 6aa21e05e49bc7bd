import Cluster
import Foundation
import Model
import ParameterStore
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct MarginTests {
    static let margins: [HeadMargins] = [
        .plain, .arcFace(0.5), .cosFace(0.35), .sphereFace(1.35), .sphereFace(4),
        HeadMargins(m1: 0.9, m2: 0.4, m3: 0.15),
        HeadMargins(m1: 2.5, m2: 1.5, m3: -0.3),
    ]

    @Test(arguments: margins) func derivativeIsThatOfTheValue(margins: HeadMargins) {
        for cosine in stride(from: -0.995, through: 0.995, by: 0.01) {
            let (t, derivative) = margins.value(atCosine: cosine)
            #expect(abs(t - (cos(margins.m1 * acos(cosine) + margins.m2) - margins.m3)) < 1e-14)
            // Fourth-order differences: truncation and rounding both stay below 1e-8 of the slope.
            let h = 1e-4 * (1 - cosine * cosine)
            func at(_ offset: Double) -> Double { margins.value(atCosine: cosine + offset * h).t }
            let slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
            #expect(abs(derivative - slope) < 1e-7 * max(1, abs(slope)), "at cosine \(cosine)")
        }
    }

    @Test(arguments: margins) func staysFiniteAtTheEnds(margins: HeadMargins) {
        for cosine in [1, -1, 1 - 1e-16, -1 + 1e-16, 1 - 1e-12, 1.0000001, -1.0000001, 1 - 1e-9] {
            let (t, derivative) = margins.value(atCosine: cosine)
            #expect(t.isFinite && derivative.isFinite && abs(derivative) < 1e7)
        }
    }

    @Test func knownValues() {
        #expect(HeadMargins.plain.value(atCosine: 0.3) == (0.3, 1))
        #expect(HeadMargins.cosFace(0.25).value(atCosine: 0.5) == (0.25, 1))
        // cos 2θ = 2cos²θ − 1, with slope 4 cos θ; at θ = 0 the slope is m1² = 4.
        let double = HeadMargins.sphereFace(2)
        #expect(abs(double.value(atCosine: 0.6).t + 0.28) < 1e-15)
        #expect(abs(double.value(atCosine: 0.6).derivative - 2.4) < 1e-14)
        #expect(abs(double.value(atCosine: 1).derivative - 4) < 1e-9)
    }

    @Test func configurationsThatCannotBeAreRefused() {
        let good = HeadConfiguration(classCount: 100, embeddingSize: 8)
        #expect(throws: Never.self) { try good.validate() }
        let changes: [(String, @Sendable (inout HeadConfiguration) -> Void)] = [
            ("class count", { $0.classCount = 0 }), ("embedding size", { $0.embeddingSize = -1 }),
            ("slice count", { $0.sliceCount = 12 }), ("scale", { $0.scale = .nan }), ("scale", { $0.scale = 0 }),
            ("m1", { $0.margins.m1 = 0 }), ("m2", { $0.margins.m2 = .infinity }), ("m3", { $0.margins.m3 = .nan }),
            ("filter", { $0.interclassFilter = 1.5 }), ("sample rate", { $0.sampleRate = 1.01 }),
            ("momentum", { $0.optimizer = .sgd(.init(momentum: 1)) }),
            ("weight decay", { $0.optimizer = .sgd(.init(weightDecay: -1)) }),
            ("betas", { $0.optimizer = .adamW(.init(beta2: 1)) }),
            ("epsilon", { $0.optimizer = .adamW(.init(epsilon: 0)) }),
            ("moments", { $0.optimizer = .adamW(.init(storage: .int8)) }),
            ("int8", { $0.storage = .int8 }), ("momentum", { $0.optimizer = .sgd(.init(storage: .none)) }),
        ]
        for (name, change) in changes {
            var bad = good
            change(&bad)
            #expect { try bad.validate() } throws: { error in
                (error as? HeadError)?.code == .configuration && "\(error)".contains(name)
            }
        }
    }
}
