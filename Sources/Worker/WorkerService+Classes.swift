import Cluster
import Logging
import MemberSupport
import Model
import ParameterStore
import ProcessSupport
import Setup
import StepProtocol
import Wire

/// Classes come and go at step boundaries: a step is computed with those of its plan.
extension WorkerService {
    /// Whether the model computes with the classes of the plan. After going back, operations of the same number may be others.
    func knowsClasses(of plan: Plan) -> Bool {
        guard let classes, classes.registry.version == plan.classVersion else { return false }
        return plan.classVersion == 0 || classes.term == plan.id.term
    }

    /// Takes the operations over that the waiting plan needs, and follows it.
    ///
    /// Returns false when the service ends.
    func learn(_ list: ClassList) -> Bool {
        // An answer that comes twice, or too early: the plan comes again, and the question with it.
        guard let plan = waitingPlan, list.version >= plan.classVersion, let setup, let model else { return true }
        let registry: ClassRegistry
        do {
            let all = try ClassRegistry(
                classCount: setup.head.classCount, sliceCount: setup.head.sliceCount, operationsJSON: list.operations)
            registry = try setup.classes(after: Array(all.operations.prefix(plan.classVersion)))
        } catch {
            return fail("the coordinator's class operations do not fit its configuration: \(error)", 70)
        }
        guard registry.version == plan.classVersion else { return true }
        log.info("classes: \(registry.classCount), \(registry.retired.count) of them retired")
        classes = (registry, plan.id.term)
        let mailbox = mailbox
        compute.submit {
            do throws(Refusal) { try model.value.adopt(registry) } catch {
                mailbox.post(.failed(plan.id, .labels, error))
            }
        }
        return follow(plan)
    }
}
