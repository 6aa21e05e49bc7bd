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
    /// Computes with the classes after so many of the operations that the coordinator has told.
    ///
    /// Returns false when the service ends.
    func adoptClasses(_ version: Int, _ id: StepID) -> Bool {
        guard let list = classList, let setup, let model else { return true }
        let registry: ClassRegistry
        do {
            let all = try ClassRegistry(
                classCount: setup.head.classCount, sliceCount: setup.head.sliceCount, operationsJSON: list.operations)
            registry = try setup.classes(after: Array(all.operations.prefix(version)))
        } catch { return tell(.classesDoNotFit("\(error)")) }
        guard registry.version == version else {
            return tell(.classesDoNotFit("\(registry.version) are known, \(version) are needed"))
        }
        log.info("classes: \(registry.classCount), \(registry.retired.count) of them retired")
        let mailbox = mailbox
        compute.submit {
            do throws(Refusal) { try model.value.adopt(registry) } catch {
                mailbox.post(.failed(id, .labels, error))
            }
        }
        return true
    }
}
