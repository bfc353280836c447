package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.AbortException;
import hudson.Util;
import hudson.model.Item;
import hudson.util.ComboBoxModel;
import hudson.util.FormValidation;
import jenkins.model.Jenkins;

/** What the forms of jobs and folders share about gateways. Each method checks the right to configure the item. */
final class GatewayForm {
    private GatewayForm() {}

    static void checkConfigure(@CheckForNull Item item) {
        if (item == null) {
            Jenkins.get().checkPermission(Jenkins.ADMINISTER);
        } else {
            item.checkPermission(Item.CONFIGURE);
        }
    }

    static ComboBoxModel gateways(@CheckForNull Item item) {
        checkConfigure(item);
        ComboBoxModel names = new ComboBoxModel();
        KernelGatewayConfiguration.get().getGateways().forEach(gateway -> names.add(gateway.getName()));
        names.add(GatewayTarget.AGENT);
        return names;
    }

    static FormValidation checkGateway(@CheckForNull Item item, @CheckForNull String value) {
        checkConfigure(item);
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
}
