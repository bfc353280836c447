package org.kernelgateway.jenkins;

import hudson.AbortException;
import hudson.Util;
import hudson.model.Item;
import hudson.util.ComboBoxModel;
import hudson.util.FormValidation;
import hudson.util.ListBoxModel;
import org.kohsuke.stapler.AncestorInPath;
import org.kohsuke.stapler.QueryParameter;
import org.kohsuke.stapler.verb.POST;

/**
 * The fields gateway and credentialsId of a form. An interface, since the forms of steps and folders each have a base
 * class of Jenkins' own; a form gets the fields' lists and checks by implementing it.
 */
public interface GatewayForm {
    /** The gateways of the system configuration by name, and the build's agent. */
    @POST
    default ComboBoxModel doFillGatewayItems(@AncestorInPath Item item) {
        FormChecks.mayConfigure(item);
        ComboBoxModel names = new ComboBoxModel();
        KernelGatewayConfiguration.get().getGateways().forEach(gateway -> names.add(gateway.getName()));
        names.add(GatewayTarget.AGENT);
        return names;
    }

    /** Says where an empty field leads, and what is wrong with a name. */
    @POST
    default FormValidation doCheckGateway(@AncestorInPath Item item, @QueryParameter String value) {
        FormChecks.mayConfigure(item);
        String named = Util.fixEmptyAndTrim(value);
        try {
            String url = GatewayTarget.of(item, named, null).url();
            if (url == null) {
                return FormValidation.ok("The build's agent runs it"
                        + (named == null ? ", or the gateway of a variable KERNEL_GATEWAY_URL." : "."));
            }
            return named == null ? FormValidation.ok("By default: " + url) : FormValidation.ok();
        } catch (AbortException unknown) {
            // A name may hold a variable of the build.
            return named != null && named.contains("$")
                    ? FormValidation.ok()
                    : FormValidation.error(unknown.getMessage());
        }
    }

    /** Secret texts that the item may use; of others the present id alone. */
    @POST
    default ListBoxModel doFillCredentialsIdItems(@AncestorInPath Item item, @QueryParameter String credentialsId) {
        return Tokens.list(item, credentialsId);
    }
}
