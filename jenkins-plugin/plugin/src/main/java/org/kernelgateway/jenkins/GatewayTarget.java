package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.AbortException;
import hudson.Util;
import hudson.model.Item;
import hudson.model.ItemGroup;
import hudson.model.Run;
import hudson.security.ACL;
import hudson.util.Secret;
import java.util.List;
import jenkins.model.Jenkins;

/**
 * The gateway that a step uses and whose token goes to it.
 *
 * <p>A token only ever goes to the address that its owner wrote it down for: an administrator's to the gateway of the
 * global list, a folder's to the folder's gateway. A job that names an address of its own brings its own credential.
 */
final class GatewayTarget {
    /** What a job or folder names to run on the build's agent itself although there is a gateway. */
    static final String AGENT = "none";

    private final String url;
    private final String credentialsId;
    private final ItemGroup<?> owner;
    private final boolean open;

    private GatewayTarget(
            @CheckForNull String url,
            @CheckForNull String credentialsId,
            @CheckForNull ItemGroup<?> owner,
            boolean open) {
        this.open = open;
        this.url = url;
        this.credentialsId = credentialsId;
        this.owner = owner;
    }

    /** Whether nobody names a gateway: the command then takes KERNEL_GATEWAY_URL, or runs on the agent without that. */
    boolean isOpen() {
        return open;
    }

    /** The address; null to run on the build's agent itself, or if nobody names one. */
    @CheckForNull
    String url() {
        return url;
    }

    /**
     * What a step's own settings come to: the step's, else its folder's, else the first of the global list.
     *
     * @param item the job, for its folders; null outside of any
     * @param gateway a name of the global list, an address, {@link #AGENT}, or nothing
     * @param credentialsId the step's own credential, or nothing
     * @throws AbortException if there is no gateway of that name
     */
    static GatewayTarget of(@CheckForNull Item item, @CheckForNull String gateway, @CheckForNull String credentialsId)
            throws AbortException {
        GatewayTarget byDefault = ofFolder(item);
        String named = Util.fixEmptyAndTrim(gateway);
        GatewayTarget target = named == null ? byDefault : ofName(named);
        if (target.url != null && target.url.equals(byDefault.url)) {
            target = byDefault;
        }
        String own = Util.fixEmptyAndTrim(credentialsId);
        return own == null || (target.url == null && !target.open)
                ? target
                : new GatewayTarget(target.url, own, null, target.open);
    }

    /**
     * The token, looked up for a build with the rights of that build; null if none is named.
     *
     * @throws AbortException if one is named but not there for this build
     */
    @CheckForNull
    Secret token(Run<?, ?> run) throws AbortException {
        if (credentialsId == null) {
            return null;
        }
        return owner == null
                ? Tokens.find(credentialsId, run)
                : found(Tokens.find(credentialsId, owner, ACL.SYSTEM2));
    }

    /** The token as a form needs it, for a job that may be configured by who looks at it. Raises as {@link #token}. */
    @CheckForNull
    Secret tokenForForm(@CheckForNull Item item) throws AbortException {
        if (credentialsId == null) {
            return null;
        }
        if (owner != null) {
            return found(Tokens.find(credentialsId, owner, ACL.SYSTEM2));
        }
        return found(
                item == null
                        ? Tokens.find(credentialsId, Jenkins.get(), ACL.SYSTEM2)
                        : Tokens.find(credentialsId, item));
    }

    private Secret found(@CheckForNull Secret token) throws AbortException {
        if (token == null) {
            throw Tokens.missing(credentialsId);
        }
        return token;
    }

    private static GatewayTarget ofFolder(@CheckForNull Item item) throws AbortException {
        FolderSettings settings = item == null ? null : FolderSettings.nearest(item);
        if (settings == null) {
            List<KernelGateway> gateways = KernelGatewayConfiguration.get().getGateways();
            return gateways.isEmpty() ? new GatewayTarget(null, null, null, true) : of(gateways.get(0));
        }
        GatewayTarget target = settings.gateway == null ? ofFolder(null) : ofName(settings.gateway);
        return settings.credentialsId == null || target.url == null
                ? target
                : new GatewayTarget(target.url, settings.credentialsId, settings.folder, false);
    }

    private static GatewayTarget ofName(String named) throws AbortException {
        if (named.equals(AGENT)) {
            return new GatewayTarget(null, null, null, false);
        }
        String url = GatewayClient.normalise(named);
        for (KernelGateway gateway : KernelGatewayConfiguration.get().getGateways()) {
            if (gateway.getName().equals(named) || gateway.getUrl().equals(url)) {
                return of(gateway);
            }
        }
        if (!GatewayClient.isUrl(url)) {
            throw new AbortException("There is no kernel gateway '" + named
                    + "' in Jenkins' system configuration; name one of those, or an address with http:// or https://.");
        }
        return new GatewayTarget(url, null, null, false);
    }

    private static GatewayTarget of(KernelGateway gateway) {
        return new GatewayTarget(gateway.getUrl(), gateway.getCredentialsId(), Jenkins.get(), false);
    }
}
