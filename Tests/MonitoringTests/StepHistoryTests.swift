import Monitoring
import OperatorStatus
import TestSupport
import Testing

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct StepHistoryTests {
    private func figures(_ step: Int, loss: Double? = nil) -> StepFigures {
        StepFigures(
            step: step, loss: loss ?? Double(step), learningRate: 0.5, seconds: 2, backboneSeconds: 1,
            exchangeSeconds: 0.5, updateSeconds: 0.25)
    }

    private func history(_ steps: some Sequence<Int>, capacity: Int = 2048) -> StepHistory {
        var history = StepHistory(totalSteps: 1000, batchSize: 10, capacity: capacity)
        for step in steps { history.append(figures(step)) }
        return history
    }

    @Test func fewStepsAreKeptAsTheyAre() {
        let known = history(0..<5).history(limit: 100)
        #expect(known.stepsPerPoint == 1)
        #expect(known.step == [0, 1, 2, 3, 4])
        #expect(known.loss == [0, 1, 2, 3, 4])
        #expect(known.samplesPerSecond == [5, 5, 5, 5, 5])
        #expect(known.updateSeconds == [0.25, 0.25, 0.25, 0.25, 0.25])
    }

    @Test(arguments: [2, 3, 16, 100, 2048]) func memoryIsBoundedAndEveryStepCounts(capacity: Int) {
        let known = history(0..<100_000, capacity: capacity).history(limit: .max)
        #expect(known.step.count <= capacity)
        #expect(known.step.count > capacity / 2 || capacity < 4)
        #expect(known.steps.reduce(0, +) == 100_000)
        #expect(known.step.first == 0)
        for (index, step) in known.step.enumerated() {
            #expect(step == index * known.stepsPerPoint)
            let mean = Double(step) + Double(known.steps[index] - 1) / 2
            #expect(abs(Double(known.loss[index] ?? 0) - mean) <= 1e-6 * mean + 1e-9)
        }
    }

    @Test func aLimitGivesAtMostSoManyPoints() {
        let all = history(0..<1000)
        for limit in [0, 1, 2, 7, 400, 999, 1000, 5000] {
            let known = all.history(limit: limit)
            #expect(known.step.count <= max(limit, 1))
            #expect(known.steps.reduce(0, +) == 1000)
        }
    }

    @Test func pointsDoNotDependOnTheBeginning() {
        let (all, late) = (history(0..<5000, capacity: 64), history(2048..<5000, capacity: 64))
        let (a, b) = (all.history(limit: 10), late.history(limit: 10))
        let shared = b.step.filter { $0 % a.stepsPerPoint == 0 && a.step.contains($0) }
        #expect(!shared.isEmpty)
        #expect(b.step.allSatisfy { $0 % b.stepsPerPoint == 0 })
    }

    @Test func goingBackForgetsWhatCameAfter() {
        var known = history(0..<100)
        known.append(figures(40, loss: -1))
        let after = known.history(limit: .max)
        #expect(after.step == Array(0...40))
        #expect(after.loss.last == -1)
        #expect(after.loss[39] == 39)
    }

    @Test func skippedStepsAndNumbersThatAreNoneLeaveHoles() {
        var known = history(0..<1)
        known.append(StepFigures(step: 1, loss: nil, learningRate: 0.5, seconds: 1))
        known.append(StepFigures(step: 2, loss: .nan, learningRate: .nan, seconds: .nan))
        let after = known.history(limit: .max)
        #expect(after.loss == [0, nil, nil])
        #expect(after.learningRate == [0.5, 0.5, nil])
        #expect(after.samplesPerSecond == [5, 10, nil])
        #expect(after.backboneSeconds == [1, nil, nil])
    }

    @Test func evaluationsAreBoundedAndTheLastStays() {
        var known = history(0..<1)
        for step in 0..<10_000 {
            known.append(ClusterStatus.Evaluation(name: "a", step: step, values: ["accuracy": Double(step)]))
        }
        known.append(ClusterStatus.Evaluation(name: "b", step: 5, values: [:]))
        let kept = known.history(limit: 1).evaluations
        #expect(kept.count <= 2001)
        #expect(kept.last { $0.name == "a" }?.step == 9999)
        #expect(kept.last?.name == "b")
        #expect(kept.filter { $0.name == "a" }.map(\.step) == kept.filter { $0.name == "a" }.map(\.step).sorted())
    }
}
