import Hummingbird
import Management

// Targets, portals, access and sessions.
extension ControlServer {
    static func addTargetRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("targets") { _, _ in await answer { try await controller.targets() } }
        api.post("targets") { request, _ in
            await answer(.created) { try await controller.createTarget(try await body(of: request)) }
        }
        api.get("targets/:name") { _, context in
            await answer { try await controller.target(try name("name", context)) }
        }
        api.delete("targets/:name") { _, context in
            await answer {
                let target = try name("name", context)
                try await controller.deleteTarget(target)
                return Acknowledgement("deleted target \(target)")
            }
        }
        api.post("targets/:name/access") { request, context in
            await answer {
                try await controller.setAccess(ofTarget: try name("name", context), try await body(of: request))
            }
        }
        api.post("targets/:name/map") { request, context in
            await answer {
                try await controller.map(target: try name("name", context), try await body(of: request))
            }
        }
        api.post("targets/:name/unmap") { request, context in
            await answer {
                try await controller.unmap(target: try name("name", context), try await body(of: request))
            }
        }
        api.post("targets/:name/portals") { request, context in
            await answer {
                try await controller.setPortalGroups(
                    ofTarget: try name("name", context), try await body(of: request))
            }
        }
        api.post("targets/:name/redirect") { request, context in
            await answer {
                try await controller.redirect(target: try name("name", context), try await body(of: request))
            }
        }
    }

    static func addAccessRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("groups") { _, _ in await answer { try await controller.initiatorGroups() } }
        api.post("groups") { request, _ in
            await answer(.created) { try await controller.createInitiatorGroup(try await body(of: request)) }
        }
        api.get("groups/:name") { _, context in
            await answer { try await controller.initiatorGroup(try name("name", context)) }
        }
        api.delete("groups/:name") { _, context in
            await answer {
                let group = try name("name", context)
                try await controller.deleteInitiatorGroup(group)
                return Acknowledgement("deleted group \(group)")
            }
        }
        api.post("groups/:name/add") { request, context in
            await answer {
                try await controller.extendInitiatorGroup(try name("name", context), try await body(of: request))
            }
        }
        api.post("groups/:name/remove") { request, context in
            await answer {
                try await controller.reduceInitiatorGroup(try name("name", context), try await body(of: request))
            }
        }
        api.get("chap") { _, _ in await answer { try await controller.credentials() } }
        api.post("chap/set") { request, _ in
            await answer { try await controller.setCredentials(try await body(of: request)) }
        }
        api.post("chap/clear") { request, _ in
            await answer {
                try await controller.clearCredentials(try await body(of: request))
                return Acknowledgement("cleared")
            }
        }
    }

    static func addPortalRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("portals") { _, _ in await answer { await controller.portalSummaries() } }
        api.post("portals") { request, _ in
            await answer(.created) { try await controller.addPortal(try await body(of: request)) }
        }
        api.delete("portals/:portal") { _, context in
            await answer {
                let portal = try name("portal", context)
                try await controller.removePortal(portal)
                return Acknowledgement("removed portal \(portal)")
            }
        }
        api.post("portals/:portal/drain") { request, context in
            await answer {
                try await controller.drainPortal(try name("portal", context), try await body(of: request))
            }
        }
        api.post("portals/:portal/resume") { _, context in
            await answer { try await controller.resumePortal(try name("portal", context)) }
        }
    }

    static func addSessionRoutes(to api: RouterGroup<BasicRequestContext>, _ controller: Controller) {
        api.get("sessions") { _, _ in await answer { await controller.sessions() } }
        api.get("sessions/:handle") { _, context in
            await answer { try await controller.session(try name("handle", context)) }
        }
        api.post("sessions/close") { request, _ in
            await answer { try await controller.closeSessions(try await body(of: request)) }
        }
    }
}
