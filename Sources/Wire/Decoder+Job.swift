internal import CWire
import StepProtocol

/// What is said of jobs: workers with a network of their own.
extension Decoder {
    static func job(_ c: Partialfc__Job) throws -> JobRank {
        JobRank(
            id: c.id, rank: try Field.number(c.rank, "rank of a job"),
            worldSize: try Field.number(c.world_size, "world_size of a job"),
            step: try Field.orNone(c.step, "step of a job"), past: c.past)
    }

    static func planJob(_ c: Partialfc__PlanJob) throws -> PlanJob {
        PlanJob(
            id: c.id, worldSize: try Field.number(c.world_size, "world_size of a job"), setsRate: c.sets_rate != 0)
    }
}
